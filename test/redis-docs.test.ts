import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { Keys } from '../src/cluster/redis/keys.js';

const DOCS = new URL('../../docs/redis.md', import.meta.url);
const TAGS = /\{(?!log)[^}]+\}/;

/** The cells of a table between two comments, without its head. */
function table(text: string, name: string): string[][] {
  const part = text.slice(text.indexOf(`<!-- ${name} -->`), text.indexOf(`<!-- end of ${name} -->`));
  return part
    .split('\n')
    .filter(line => line.startsWith('|'))
    .slice(2)
    .map(line => line.split('|').slice(1, -1))
    .map(cells => cells.map(cell => cell.trim()));
}

describe('docs/redis.md', () => {
  const text = readFileSync(DOCS, 'utf8');

  it('has figures of everything that is measured', () => {
    for (const name of ['memory', 'calls', 'scripts', 'traffic']) {
      expect(table(text, name).length, name).to.be.greaterThan(1);
    }
  });

  it('names every key and every channel', () => {
    const layout = { prefix: 'sse:', database: 0, channel: 'sse:events', partitions: 1 };
    const keys = new Keys({ ...layout, pubsub: 'classic', cluster: false });
    const [partition] = keys.partitions;
    const names = [
      partition?.leases,
      partition?.routes,
      partition?.index,
      keys.logMeta,
      keys.logMarks,
      keys.topic('<topic>').stream,
      keys.topic('<topic>').last,
      keys.lock('<name>'),
      keys.controlChannel,
      keys.broadcastChannel,
      keys.topicChannel('<topic>'),
      ...keys.nodeChannels('<incarnation>'),
      keys.probeChannel('<incarnation>:<n>'),
    ];
    for (const name of names) expect(text).to.include(`\`${name?.replace(TAGS, '{<tag>}')}\``);
  });
});
