import type { SinonFakeTimers } from 'sinon';
import { MemoryBus } from '../../../src/cluster/memory/bus.js';
import type { SseOptions } from '../../../src/options/sse-options.js';
import { encodeEvent } from '../../../src/protocol/event-stream.js';
import { RecordingSink } from '../recording-sink.js';
import { turns } from '../turns.js';
import { ModelNode } from './model-node.js';
import { ModelRedis } from './model-redis.js';
import { faultOf, type Published } from './stream-check.js';

export const TOPICS = ['a', 'b', 'c'] as const;
const NODES = 2;
const REMEMBERED = 8;

/** One step of a run. A number selects an item modulo the number of items. */
export type Step =
  | { readonly is: 'publish'; readonly topic: number }
  | { readonly is: 'join'; readonly client: number; readonly node: number; readonly id: number }
  | { readonly is: 'leave'; readonly client: number }
  | { readonly is: 'break'; readonly node: number }
  | { readonly is: 'trim'; readonly topic: number; readonly keep: number }
  | { readonly is: 'flush' }
  | { readonly is: 'lose'; readonly writes: number }
  | { readonly is: 'carry out'; readonly node: number }
  | { readonly is: 'deliver'; readonly node: number; readonly count: number }
  | { readonly is: 'execute'; readonly call: number }
  | { readonly is: 'answer'; readonly call: number; readonly fail: boolean }
  | { readonly is: 'tick'; readonly ms: number }
  | { readonly is: 'settle' };

interface Stream {
  readonly client: number;
  readonly topics: readonly string[];
  readonly lastEventId: string | undefined;
  readonly sink: RecordingSink;
  joined: boolean;
}

/** Clients, nodes and a Redis to which steps happen; afterwards everything that a client saw is compared with what was published. */
export class LogRun {
  readonly redis = new ModelRedis();
  readonly nodes: ModelNode[] = [];
  readonly published: Published[] = [];
  readonly #bus = new MemoryBus();
  readonly streams: Stream[] = [];
  readonly #past: { readonly snapshot: object; readonly published: number }[] = [];
  #number = 0;
  #masters = 0;

  constructor(
    /** Topics of each client. */
    private readonly clients: readonly (readonly string[])[],
    private readonly clock: SinonFakeTimers,
    /** Whether Redis shows its run id. */
    private readonly runIds: boolean,
    history: SseOptions['history'] = {},
  ) {
    if (!runIds) this.redis.log.run = '';
    for (let n = 0; n < NODES; n += 1) this.nodes.push(new ModelNode(`n${n}`, this.redis, this.#bus, history));
  }

  async start(): Promise<void> {
    for (const { node } of this.nodes) await node.service.start();
    await this.settle();
  }

  async do(step: Step): Promise<void> {
    switch (step.is) {
      case 'publish':
        this.publish(this.#topic(step.topic));
        break;
      case 'join':
        this.join(step.client % this.clients.length, this.#node(step.node), step.id);
        break;
      case 'leave':
        this.leave(step.client % this.clients.length);
        break;
      case 'break':
        this.#node(step.node).connection?.break();
        break;
      case 'trim':
        this.redis.log.trim(this.redis.keys.topic(this.#topic(step.topic)).stream, step.keep);
        break;
      case 'flush':
        this.#past.length = 0;
        this.redis.log.flush();
        break;
      case 'lose':
        await this.lose(step.writes);
        break;
      case 'carry out':
        this.#node(step.node).connection?.carryOut();
        break;
      case 'deliver':
        this.#node(step.node).connection?.deliver(step.count);
        break;
      case 'execute':
        this.redis.execute(step.call);
        break;
      case 'answer':
        this.redis.answer(step.call, step.fail);
        break;
      case 'tick':
        await this.clock.tickAsync(step.ms);
        break;
      case 'settle':
        await this.settle();
        break;
    }
    await turns(2);
  }

  publish(topic: string): void {
    this.#past.push({ snapshot: this.redis.log.snapshot(), published: this.published.length });
    if (this.#past.length > REMEMBERED) this.#past.shift();
    this.#number += 1;
    const data = `${topic} ${this.#number}`;
    const { epoch, position } = this.redis.publish(topic, encodeEvent({ event: 'message', data }));
    this.published.push({ topic, at: { epoch, ...position }, data, lost: false });
  }

  /** Connects a client with one of the ids that any of its streams has seen, or with none. */
  join(client: number, { node }: ModelNode, id: number): void {
    if (this.streams.some(stream => stream.client === client && !stream.sink.closed)) return;
    const seen = this.streams
      .filter(stream => stream.client === client)
      .flatMap(({ sink }) => sink.events.flatMap(event => event.id ?? []));
    // The newest ones first, which is what a client comes back with.
    const lastEventId = [undefined, ...seen.reverse()][id % (seen.length + 1)];
    const topics = this.clients[client] ?? [];
    const stream: Stream = {
      client,
      topics,
      lastEventId,
      sink: new RecordingSink(),
      joined: false,
    };
    this.streams.push(stream);
    const resumes = lastEventId === undefined ? {} : { lastEventId };
    node.connect(`client-${client}`, { topics, ...resumes }, stream.sink).then(
      () => {
        stream.joined = true;
      },
      () => stream.sink.leave(),
    );
  }

  leave(client: number): void {
    for (const stream of this.streams) if (stream.client === client) stream.sink.leave();
  }

  /** Another master takes over, without the newest writes. */
  async lose(writes: number): Promise<void> {
    const at = Math.max(0, this.#past.length - writes);
    const past = this.#past[at];
    if (past === undefined) return;
    this.#past.length = at;
    for (const entry of this.published.slice(past.published)) entry.lost = true;
    this.redis.breakAll();
    this.#masters += 1;
    this.redis.log.restore(past.snapshot, this.runIds ? `run-${this.#masters}` : '');
    // That takes its time.
    await this.clock.tickAsync(1_000);
  }

  /** Lets everything that is under way arrive, as long as anything is. */
  async settle(): Promise<void> {
    for (let round = 0; round < 200; round += 1) {
      for (const { connection } of this.nodes) {
        connection?.carryOut();
        connection?.deliver(1_000);
      }
      for (let call = 0; call < 50 && this.redis.calls > 0; call += 1) {
        this.redis.execute(0);
        this.redis.answer(0);
        await turns(1);
      }
      await turns(2);
      const quiet = this.nodes.every(
        ({ connection, up, feed }) => up && connection?.underWay === 0 && feed.position !== undefined,
      );
      // A connect whose call failed tries again after a pause.
      const opening = this.streams.some(({ joined, sink }) => !joined && !sink.closed);
      if (quiet && !opening && this.redis.calls === 0) return;
      await this.clock.tickAsync(this.nodes.every(({ up }) => up) ? 20 : 600);
    }
    const state = this.nodes.map(({ id, up, connection, feed, logger }) => ({
      id,
      up,
      underWay: connection?.underWay,
      position: feed.position,
      log: logger.lines.at(-1),
    }));
    throw new Error(`it does not settle: ${this.redis.calls} calls, ${JSON.stringify(state)}`);
  }

  /** Ends it well: everything arrives. Then what is wrong with any stream, if anything. */
  async fault(): Promise<string | undefined> {
    await this.settle();
    for (const topic of TOPICS) this.publish(topic);
    await this.settle();
    for (const [n, stream] of this.streams.entries()) {
      const events = stream.sink.events;
      const fault = faultOf({ ...stream, events }, this.published) ?? this.#unfinished(stream);
      if (fault !== undefined) return `stream ${n} of client ${stream.client} ${fault}`;
    }
    return undefined;
  }

  stop(): void {
    for (const { sink } of this.streams) sink.leave();
    for (const node of this.nodes) node.stop();
  }

  #unfinished({ sink, joined, topics }: Stream): string | undefined {
    if (sink.closed) return undefined;
    if (!joined) return 'was never let in';
    const had = new Set(sink.data('message'));
    const last = topics.map(topic => this.published.findLast(entry => entry.topic === topic));
    const lacking = last.find(entry => entry !== undefined && !had.has(entry.data));
    return lacking === undefined ? undefined : `lacks ${lacking.data} at the end`;
  }

  #topic(number: number): string {
    return TOPICS[number % TOPICS.length] ?? 'a';
  }

  #node(number: number): ModelNode {
    const node = this.nodes[number % this.nodes.length];
    if (node === undefined) throw new Error('no node');
    return node;
  }
}
