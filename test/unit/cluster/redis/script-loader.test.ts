import { expect } from 'chai';
import { loadScripts } from '../../../../src/cluster/redis/script.js';
import { SseError } from '../../../../src/errors.js';

describe('loadScripts', () => {
  it('puts the clock and the common functions in front that a script uses, and no other', () => {
    const lua = loadScripts(['send']).get('send') ?? '';
    // `leaseOf` uses `parseLease`.
    const functions = ['parseLease', 'leaseOf', 'isPartial', 'numbered'].map(name => `local function ${name}(`);
    const own = ['local leases, routes', ...['formerOf', 'send'].map(name => `local function ${name}(`)];
    const places = ["redis.call('TIME')", ...functions, ...own];
    const found = places.map(place => lua.indexOf(place));
    expect(found).to.not.include(-1);
    expect(found).to.deep.equal([...found].sort((a, b) => a - b));
    expect(lua.match(/^local function/gm)).to.have.length(functions.length + 2);
  });

  it('accepts another text', () => {
    const lua = loadScripts(['count'], { replaced: { _clock: 'local now = 1\n' } }).get('count') ?? '';
    expect(lua.startsWith('local now = 1\n')).to.equal(true);
    expect(lua).to.not.include("'TIME'");
  });

  it('names a script that is missing', () => {
    expect(() => loadScripts(['nope']))
      .to.throw(SseError)
      .with.property('code', 'INTERNAL');
  });
});
