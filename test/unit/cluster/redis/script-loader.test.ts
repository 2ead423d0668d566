import { expect } from 'chai';
import { loadScripts } from '../../../../src/cluster/redis/script.js';
import { SseError } from '../../../../src/errors.js';

describe('loadScripts', () => {
  it('puts clock and common functions in front', () => {
    const lua = loadScripts(['lease']).get('lease') ?? '';
    const places = ["redis.call('TIME')", 'local function parseRoute', 'local leases, routes, index'];
    const found = places.map(place => lua.indexOf(place));
    expect(found).to.not.include(-1);
    expect(found).to.deep.equal([...found].sort((a, b) => a - b));
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
