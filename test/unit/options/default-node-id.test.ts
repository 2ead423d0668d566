import { expect } from 'chai';
import { defaultNodeId, NODE_ID } from '../../../src/options/settings.js';

describe('defaultNodeId', () => {
  it('is host name, process id and six hex characters', () => {
    expect(defaultNodeId('web-1.example', 42)).to.match(/^web-1\.example-42-[0-9a-f]{6}$/);
  });

  it('uses this host and this process', () => {
    expect(defaultNodeId()).to.match(NODE_ID).and.include(`-${process.pid}-`);
  });

  for (const host of ['', 'my host', 'ärger', 'a/b:c', 'x'.repeat(255)]) {
    it(`is valid for the host name ${JSON.stringify(host.slice(0, 20))}`, () => {
      expect(defaultNodeId(host, 4194304999)).to.match(NODE_ID);
    });
  }
});
