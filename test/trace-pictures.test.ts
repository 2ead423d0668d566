import { readdirSync, readFileSync } from 'node:fs';
import { expect } from 'chai';
import { IMAGES, tracePictures } from './support/traced/pictures.js';

describe('the pictures in docs/images', () => {
  it('are made from traces that Jaeger had; `node dist/test/support/traced/pictures.js` makes them anew', () => {
    const names = readdirSync(IMAGES).filter(name => name.startsWith('trace-of'));
    const found = new Map(names.map(name => [name, readFileSync(IMAGES + name, 'utf8')]));
    expect(Object.fromEntries(found)).to.deep.equal(Object.fromEntries(tracePictures()));
  });
});
