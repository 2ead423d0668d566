import { expect } from 'chai';
import { resolveOptions } from '../../../src/options/sse-options.js';
import { type HistorySettings, retentionFor } from '../../../src/options/topic-history.js';

function history(topics: HistorySettings['topics'], enabled = true): HistorySettings {
  return resolveOptions({ history: { enabled, maxEntries: 10, ttl: 20, topics } }).history;
}

describe('retentionFor', () => {
  it('is the retention of the group for a topic that no pattern matches', () => {
    expect(retentionFor(history({ 'news/*': false }), 'clock')).to.deep.equal({
      maxEntries: 10,
      ttl: 20,
    });
  });

  it('is that of the group for broadcasts, whatever the patterns', () => {
    expect(retentionFor(history({ '*': false }), undefined)).to.deep.equal({
      maxEntries: 10,
      ttl: 20,
    });
  });

  it('is nothing when the pattern says false', () => {
    expect(retentionFor(history({ 'news/*': false }), 'news/a')).to.be.false;
  });

  it('takes from the group what the pattern leaves out', () => {
    const settings = history({ a: { maxEntries: 1 }, b: { ttl: 2 }, c: {} });
    expect(retentionFor(settings, 'a')).to.deep.equal({ maxEntries: 1, ttl: 20 });
    expect(retentionFor(settings, 'b')).to.deep.equal({ maxEntries: 10, ttl: 2 });
    expect(retentionFor(settings, 'c')).to.deep.equal({ maxEntries: 10, ttl: 20 });
  });

  it('is that of the first matching pattern', () => {
    const settings = history({ 'news/hot': { ttl: 1 }, 'news/*': { ttl: 2 }, '*': false });
    expect(retentionFor(settings, 'news/hot')).to.deep.include({ ttl: 1 });
    expect(retentionFor(settings, 'news/cold')).to.deep.include({ ttl: 2 });
    expect(retentionFor(settings, 'other')).to.be.false;
    expect(retentionFor(history({ '*': false, news: { ttl: 1 } }), 'news')).to.be.false;
  });

  it('is nothing at all when history is off', () => {
    const settings = history({ a: { ttl: 1 } }, false);
    expect(retentionFor(settings, 'a')).to.be.false;
    expect(retentionFor(settings, undefined)).to.be.false;
  });

  it('answers a topic with the same object each time', () => {
    const settings = history({ a: { ttl: 1 } });
    expect(retentionFor(settings, 'a')).to.equal(retentionFor(settings, 'a'));
  });

  it('keeps the settings of two services apart', () => {
    expect(retentionFor(history({ a: false }), 'a')).to.be.false;
    expect(retentionFor(history({}), 'a')).not.to.be.false;
  });

  it('knows topics by the names of built-in properties', () => {
    const settings = history(Object.fromEntries([['constructor', false]]));
    expect(retentionFor(settings, 'constructor')).to.be.false;
    expect(retentionFor(settings, 'toString')).not.to.be.false;
    expect(retentionFor(settings, '__proto__')).not.to.be.false;
  });
});
