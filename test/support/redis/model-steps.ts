import { expect } from 'chai';
import type fc from 'fast-check';
import {
  countScript,
  ownedScript,
  reapScript,
  resolveScript,
  expireScript,
} from '../../../src/cluster/redis/scripts.js';
import { type BenchNode, LEASE_MS } from './bench-node.js';
import { LIMIT, type PartitionModel } from './partition-model.js';
import type { ScriptBench } from './script-bench.js';

/** What the model side of a run consists of: one model for each partition. */
export interface Model {
  readonly partitions: readonly PartitionModel[];
}

/** What the real side consists of. Tokens are numbered, so that both sides know the earlier ones. */
export interface Real {
  readonly bench: ScriptBench;
  readonly nodes: BenchNode[];
  /** Tokens that a node has used for a connection id, newest first. */
  readonly tokens: Map<string, string[]>;
  /** The fencing token of each of them that was registered. */
  readonly fencingTokens: Map<string, number>;
  tokenCount: number;
}

/** A command on both sides. */
export type Command = fc.AsyncCommand<Model, Real>;
type Step = (model: PartitionModel, real: Real, partition: number) => Promise<void>;

/** The connection ids of each partition. */
export const CONNS = ['x', 'y', 'z'];
/** Users of some of them. */
const USERS: Readonly<Record<string, string>> = { y: 'ann', z: 'a|b\nc' };
/** Milliseconds since a connection opened that no script has registered yet, when it is restored. */
const AGE_MS = 5_000;
/** How many nodes there are. */
export const NODES = 3;
const SCHEMA = '1/test';

/** A step as a command: runs it, then compares the whole partition with the model. */
class Compared implements Command {
  constructor(
    private readonly text: string,
    private readonly partition: number,
    private readonly step: Step,
  ) {}

  check(): boolean {
    return true;
  }

  async run({ partitions }: Model, real: Real): Promise<void> {
    const model = partitions[this.partition];
    if (model === undefined) throw new Error('no such partition');
    await this.step(model, real, this.partition);
    const state = await real.bench.state(real.bench.partition(this.partition));
    expect(state).to.deep.equal(model.state(SCHEMA));
  }

  toString(): string {
    return `${this.text} @${this.partition}`;
  }
}

/**
 * A node with several routes stalls beyond its lease, is half reaped, comes back and restores: where two of the known bugs
 * were.
 */
export function stall(partition: number, n: number, batches: number): Command {
  return new Compared(`stall(${n}, ${batches})`, partition, async (model, real, p) => {
    await runLease(model, real, p, n);
    for (const conn of CONNS) await runRegister(model, real, p, n, conn, 0, 'take');
    await real.bench.advance(LEASE_MS);
    for (let batch = 0; batch < batches; batch += 1) await runReap(model, real, p, 1);
    await runLease(model, real, p, n);
    await runReap(model, real, p, 1);
    for (const conn of CONNS) await runRegister(model, real, p, n, conn, 1, 'restore');
  });
}

/** Proves that a node lives. */
export function lease(partition: number, n: number): Command {
  return new Compared(`lease(${n})`, partition, (model, real) => runLease(model, real, partition, n));
}

/** The same, and its newest registration of an id again, as after a lost lease. */
export function leaseThenRetry(partition: number, n: number, conn: string): Command {
  return new Compared(`lease(${n}), restore ${conn}`, partition, async (model, real) => {
    await runLease(model, real, partition, n);
    await runRegister(model, real, partition, n, conn, 1, 'restore');
  });
}

/** `which` 0: a new token; 1: the newest again; above: older ones. `heard`: whether the other nodes hear of a takeover. */
export function register(
  partition: number,
  n: number,
  conn: string,
  which: number,
  mode: 'take' | 'load' | 'nx' | 'restore',
  heard: boolean,
): Command {
  const text = `register(${n}, ${conn}, ${which}, ${mode}${heard ? '' : ', not heard'})`;
  return new Compared(text, partition, (model, real) =>
    runRegister(model, real, partition, n, conn, which, mode, heard),
  );
}

/** Of the newest token, or an older one. */
export function unregister(partition: number, n: number, conn: string, which: number, ambiguous: boolean): Command {
  return new Compared(`unregister(${n}, ${conn}, ${which}, ${ambiguous})`, partition, async (model, real, p) => {
    const owner = nodeOf(real, n);
    const tok = tokenOf(real, owner, p, conn, Math.max(1, which));
    const more = { partition: real.bench.partition(p), tombstoneMs: ambiguous ? 600_000 : 0 };
    const expected = model.unregister(owner.inc, conn, tok, ambiguous);
    expect(await owner.unregister(conn, tok, more)).to.equal(expected);
  });
}

/** Moves the clock. */
export function advance(ms: number): Command {
  return new Compared(`advance(${ms})`, 0, (_, { bench }) => bench.advance(ms));
}

/** Of any lease that is over, or of one node itself. */
export function reap(partition: number, limit: number, releasing?: number): Command {
  const text = `reap(${limit}, ${releasing ?? 'any'})`;
  return new Compared(text, partition, (model, real, p) => runReap(model, real, p, limit, releasing));
}

/** Removes what ran out. */
export function expire(partition: number): Command {
  return new Compared('expire', partition, async (model, { bench }, p) => {
    const reply = await bench.gateway.run(expireScript, {
      partition: bench.partition(p),
      count: 10,
    });
    expect([...reply.removed].sort()).to.deep.equal(model.expire(bench.now));
    expect(reply.status).to.equal('WRAPPED');
  });
}

/** Of the newest token of every id; 0 compares only. */
export function refresh(partition: number, n: number, ttlMs: number): Command {
  return new Compared(`refresh(${n}, ${ttlMs})`, partition, async (model, real, p) => {
    const owner = nodeOf(real, n);
    const where = real.bench.partition(p);
    const pairs = CONNS.map(conn => ({ conn, tok: tokenOf(real, owner, p, conn, 1) }));
    const expected = model.refresh(owner.inc, owner.gen(where), pairs, ttlMs, real.bench.now);
    expect(await owner.refresh(pairs, { partition: where, ttlMs })).to.deep.equal(expected);
  });
}

/** Everything that only reads. */
export function look(partition: number): Command {
  return new Compared('look', partition, async (model, { bench, nodes }, p) => {
    const where = bench.partition(p);
    const { gateway, now } = bench;
    const counted = await gateway.run(countScript, { partition: where, graceMs: 0 });
    const sorted = [...counted.nodes].sort((x, y) => x.inc.localeCompare(y.inc));
    expect({ ...counted, nodes: sorted }).to.deep.equal(model.count(now));
    const epoch = nodes[0]?.believed(where)?.epoch ?? '';
    const resolved = await gateway.run(resolveScript, { partition: where, epoch, conns: CONNS });
    expect(resolved.status).to.equal(model.isPartial(epoch, now) ? 'PARTIAL' : 'OK');
    for (const [at, conn] of CONNS.entries()) {
      const { fencingToken, ...expected } = model.send(conn, epoch, now);
      const payload = Buffer.from('p');
      expect(await nodes[0]?.sendRecorded({ partition: where, conn, payload })).to.deep.equal(expected);
      if (resolved.status === 'LIMIT') throw new Error(resolved.status);
      const route = resolved.routes[at];
      expect(route !== undefined).to.equal(expected.status === 'ROUTED');
      if (route !== undefined) expect(route).to.deep.include({ fencingToken, user: USERS[conn] ?? '' });
    }
    for (const node of nodes) {
      const gen = node.gen(where);
      const page = await gateway.run(ownedScript, { partition: where, gen, offset: 0, limit: 9 });
      const conns = model.ownedBy(Number(gen));
      const { size } = model.routes;
      expect(page).to.deep.include({ owned: conns.length, all: size, indexed: size });
      expect(page.connections.map(({ conn }) => conn)).to.deep.equal(conns);
    }
  });
}

/** As an eviction of the leases, or a flush, would. */
export function lose(partition: number, leasesOnly: boolean): Command {
  return new Compared(`lose(${leasesOnly ? 'leases' : 'all'})`, partition, async (model, { bench }, p) => {
    const where = bench.partition(p);
    if (leasesOnly) {
      model.loseLeases();
      await bench.lose(where, 'leases');
    } else {
      model.lose();
      await bench.lose(where, 'leases', 'routes', 'index');
    }
  });
}

/** The process is killed and started again: same node id, another incarnation. */
export function restart(n: number): Command {
  return new Compared(`restart(${n})`, 0, async (_, real) => {
    real.tokenCount += 1;
    real.nodes[n] = real.bench.node(`n${n}~${real.tokenCount}`);
  });
}

async function runLease(model: PartitionModel, real: Real, p: number, n: number): Promise<void> {
  const node = nodeOf(real, n);
  const partition = real.bench.partition(p);
  const expected = model.lease(node.inc, node.nextEpoch, node.believed(partition), real.bench.now);
  expect(await node.lease({ partition, schema: SCHEMA })).to.deep.equal(expected);
}

async function runReap(model: PartitionModel, real: Real, p: number, limit: number, releasing?: number): Promise<void> {
  const { bench } = real;
  const self = releasing === undefined ? undefined : nodeOf(real, releasing).inc;
  const request = { partition: bench.partition(p), limit, overBy: bench.now, self };
  const reply = await bench.gateway.run(reapScript, request);
  const allowed = self === undefined ? model.reapable(bench.now) : model.releasable(self);
  if (reply.status === 'NONE') {
    expect(allowed).to.deep.equal([]);
    return;
  }
  expect(allowed).to.include(Number(reply.gen));
  expect(reply).to.deep.equal(model.reap(Number(reply.gen), limit, self !== undefined));
}

async function runRegister(
  model: PartitionModel,
  real: Real,
  p: number,
  n: number,
  conn: string,
  which: number,
  mode: 'take' | 'load' | 'nx' | 'restore',
  heard = true,
): Promise<void> {
  const node = nodeOf(real, n);
  const partition = real.bench.partition(p);
  const tok = tokenOf(real, node, p, conn, which);
  const user = USERS[conn];
  const gen = node.gen(partition);
  const { now } = real.bench;
  const opened = real.fencingTokens.get(tok) ?? (now - AGE_MS) * 1000;
  const fencingToken = mode === 'restore' ? opened : undefined;
  const expected = model.register(node.inc, gen, conn, tok, user, mode, fencingToken, heard, now);
  // No node of the bench subscribes: each is taken to hear where Redis is not asked.
  const numsub = heard ? undefined : 'NUMSUB';
  const reply = await node.registerRecorded(conn, tok, { partition, user, mode, fencingToken, numsub, ...LIMIT });
  expect(reply).to.deep.equal(expected);
  const { status } = reply;
  if (status === 'NEW' || status === 'TOOK' || status === 'DUP') real.fencingTokens.set(tok, reply.fencingToken);
  expect(await real.bench.notifications(partition)).to.deep.equal(model.takeNotifications());
}

function nodeOf({ nodes }: Real, n: number): BenchNode {
  const node = nodes[n];
  if (node === undefined) throw new Error(`no node ${n}`);
  return node;
}

function tokenOf(real: Real, node: BenchNode, p: number, conn: string, which: number): string {
  const key = `${p} ${node.inc} ${conn}`;
  const used = real.tokens.get(key) ?? [];
  const earlier = used[Math.min(which, used.length) - 1];
  if (which > 0 && earlier !== undefined) return earlier;
  real.tokenCount += 1;
  const tok = `t${real.tokenCount}`;
  real.tokens.set(key, [tok, ...used]);
  return tok;
}
