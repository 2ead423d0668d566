import type { Attributes } from '@opentelemetry/api';
import { expect } from 'chai';
import { countedReason, LabelCount, OutcomeGrid } from '../../../src/telemetry/figures.js';

type Readable = { read(observe: (count: number, labels: Attributes) => void): void };

function read(counts: Readable): [number, Attributes][] {
  const found: [number, Attributes][] = [];
  counts.read((count, labels) => found.push([count, labels]));
  return found;
}

describe('LabelCount', () => {
  it('counts by label, by one or by many', () => {
    const count = new LabelCount('kind');
    count.add('a');
    count.add('b', 3);
    count.add('a', 2);
    expect(read(count)).to.deep.equal([
      [3, { kind: 'a' }],
      [3, { kind: 'b' }],
    ]);
  });

  it('has at most 65 series for any input', () => {
    const count = new LabelCount('kind');
    for (let n = 0; n < 1000; n += 1) count.add(`label-${n}`);
    count.add('label-0');
    const series = read(count);
    expect(series).to.have.length(65);
    expect(series[0]).to.deep.equal([2, { kind: 'label-0' }]);
    expect(series[64]).to.deep.equal([936, { kind: 'other' }]);
  });
});

describe('OutcomeGrid', () => {
  it('counts by scope and outcome; what did not happen has no series', () => {
    const grid = new OutcomeGrid();
    grid.add('connection', 'delivered');
    grid.add('connection', 'delivered', 4);
    grid.add('cluster', 'unavailable');
    grid.add('node', 'rejected', 0);
    expect(read(grid)).to.deep.equal([
      [5, { 'sse.scope': 'connection', 'sse.outcome': 'delivered' }],
      [1, { 'sse.scope': 'cluster', 'sse.outcome': 'unavailable' }],
    ]);
  });

  it('distinguishes the listed events, and no others', () => {
    const grid = new OutcomeGrid(['chat', 'tick']);
    for (const event of ['chat', 'tick', 'tick', 'unheard', '__proto__', undefined]) {
      grid.add('topic', 'stored', 1, event);
    }
    const labels = { 'sse.scope': 'topic', 'sse.outcome': 'stored' };
    expect(read(grid)).to.deep.equal([
      [3, labels],
      [1, { ...labels, 'sse.event.name': 'chat' }],
      [2, { ...labels, 'sse.event.name': 'tick' }],
    ]);
  });
});

describe('countedReason', () => {
  it('names the reasons of the library, and the others together', () => {
    expect(countedReason('superseded')).to.equal('superseded');
    expect(countedReason('kicked')).to.equal('custom');
    expect(countedReason('toString')).to.equal('custom');
  });
});
