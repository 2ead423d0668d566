import { expect } from 'chai';
import { ReplyReader } from '../../../../src/cluster/redis/script.js';
import { historyScript, registerScript, resolveScript } from '../../../../src/cluster/redis/scripts.js';
import { SseError } from '../../../../src/errors.js';

const refuses = (read: () => unknown) => {
  expect(read).to.throw(SseError).with.property('code', 'INTERNAL');
};

describe('ReplyReader', () => {
  it('reads text, whole numbers, bytes, lists and groups', () => {
    const reply = new ReplyReader('x', ['OK', '12', 7, Buffer.from('b'), ['q'], 'k', 1]);
    expect(reply.word(0, ['OK', 'NO'])).to.equal('OK');
    expect([reply.integer(1), reply.integer(2)]).to.deep.equal([12, 7]);
    expect(reply.bytes(3)).to.deep.equal(Buffer.from('b'));
    expect(reply.text(3)).to.equal('b');
    expect(reply.list(4).text(0)).to.equal('q');
    expect(reply.groups(5, 2, at => [reply.text(at), reply.integer(at + 1)])).to.deep.equal([['k', 1]]);
  });

  it('refuses what is not there or not of the kind', () => {
    const reply = new ReplyReader('x', ['OK', '', '1.5', null, '9007199254740993']);
    for (const at of [0, 1, 2, 3, 4, 5]) refuses(() => reply.integer(at));
    for (const at of [3, 5]) refuses(() => reply.text(at));
    refuses(() => reply.bytes(0));
    refuses(() => reply.list(0));
    refuses(() => reply.word(0, ['NO']));
    refuses(() => reply.groups(1, 3, at => at));
    refuses(() => reply.groups(6, 1, at => at));
    for (const other of [null, undefined, 'OK', 1, {}]) refuses(() => new ReplyReader('x', other));
  });
});

describe('requests of the scripts', () => {
  it('join values that are mostly absent by line breaks, with none at the end', () => {
    const partition = { leases: 'l', routes: 'r', index: 'x', channelPrefix: 'n:' };
    const limits = { ttlMs: 1, leaseMs: 1, keyMs: 1, takeoverLimit: 1, takeoverWindow: 1 };
    const call = { partition, ...limits, inc: 'a~1', gen: '1', mode: 'take', numsub: undefined } as const;
    const none = { fencingToken: undefined, room: undefined, limits: '', trace: undefined };
    const more = [
      none,
      { ...none, room: 0 },
      { ...none, trace: 'x\ny' },
      { fencingToken: 7, room: 8, limits: '9', trace: 'z' },
    ];
    const registrations = more.map(one => ({ conn: 'c', tok: 't', user: undefined, more: one }));
    const request = { ...call, pubCommand: 'PUBLISH', tombstones: [], counters: [], registrations } as const;
    const values = registerScript.argsOf(request, '').slice(registerScript.args.length);
    expect(values).to.deep.equal(['', '\n0', '\n\n\nx\ny', '7\n8\n9\nz'].flatMap(text => ['c', 't', '', text]));
  });
});

describe('parsers of the scripts', () => {
  it('refuse replies that their script cannot give', () => {
    refuses(() => registerScript.parse(['TOOK', '1']));
    refuses(() => registerScript.parse(['OTHER']));
    refuses(() => resolveScript.parse(['OK', 1, 'inc', 'tok']));
    refuses(() => historyScript.parse(['OK', 1, [], []]));
  });

  it('keep the bytes of an entry', () => {
    const payload = Buffer.from([0, 255]);
    const entry = [1, ...['2-2', '1-1'].map(id => Buffer.from(id)), payload];
    expect(historyScript.parse(['OK', 1, [1, '1-1'], [1], entry])).to.deep.equal({
      status: 'OK',
      read: 1,
      gaps: [{ topic: 0, until: '1-1' }],
      more: [0],
      entries: [{ topic: 0, id: '2-2', previous: '1-1', payload }],
    });
  });
});
