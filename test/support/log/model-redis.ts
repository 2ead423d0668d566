import type { Redis } from 'ioredis';
import { encodePayload } from '../../../src/cluster/redis/frames.js';
import type { RedisGateway } from '../../../src/cluster/redis/gateway.js';
import { Keys } from '../../../src/cluster/redis/keys.js';
import type { HistoryReply, HistoryRequest } from '../../../src/cluster/redis/scripts.js';
import { SseError } from '../../../src/errors.js';
import { unsigned } from '../redis/signer-of.js';
import { ModelConnection } from './model-connection.js';
import { type Appended, ModelLog, text } from './model-log.js';

/** A call that Redis has not answered yet. */
interface Call {
  readonly request: HistoryRequest;
  /** Set once it was executed. */
  reply: HistoryReply | undefined;
  readonly resolve: (reply: HistoryReply) => void;
  readonly reject: (error: Error) => void;
}

/**
 * A Redis of which the test decides when it carries out a command, when its answer arrives, and when a message does. On one
 * connection everything keeps its order, as it does with the real one.
 */
export class ModelRedis {
  readonly log = new ModelLog();
  readonly keys = new Keys({
    prefix: 'model:',
    database: 0,
    channel: 'model:all',
    partitions: 1,
    pubsub: 'classic',
    cluster: false,
  });
  readonly #signer = unsigned();
  readonly #connections = new Set<ModelConnection>();
  #calls: Call[] = [];

  /** Commands and answers that are under way. */
  get calls(): number {
    return this.#calls.length;
  }

  publish(topic: string, body: Buffer): Appended {
    const payload = encodePayload(this.#signer, topic, { trace: undefined, body });
    const entry = this.log.publish(this.keys.topic(topic).stream, payload);
    const head = `${entry.epoch} ${text(entry.position)} ${text(entry.previous)} `;
    this.send(this.keys.topicChannel(topic), Buffer.concat([Buffer.from(head), payload]));
    return entry;
  }

  /** Puts a message on its way to every subscriber. */
  send(channel: string, message: Buffer): void {
    for (const connection of this.#connections) connection.publish(channel, message);
  }

  /** A new connection for subscriptions of one node. */
  connect(): ModelConnection {
    const connection = new ModelConnection(() => this.#connections.delete(connection));
    this.#connections.add(connection);
    return connection;
  }

  /** What the log's reader and feed need of a gateway. */
  get gateway(): RedisGateway {
    const run = (_script: unknown, request: HistoryRequest): Promise<HistoryReply> =>
      new Promise((resolve, reject) => {
        this.#calls.push({ request, reply: undefined, resolve, reject });
      });
    // Of everything else nothing is called.
    return { keys: this.keys, run } as unknown as RedisGateway;
  }

  /** Carries out one of the calls. */
  execute(at: number): void {
    const waiting = this.#calls.filter(({ reply }) => reply === undefined);
    const call = waiting[at % waiting.length];
    if (call !== undefined) call.reply = this.log.history(call.request);
  }

  /** One of the answers arrives, or its connection breaks before. */
  answer(at: number, fail = false): void {
    const done = this.#calls.filter(({ reply }) => reply !== undefined);
    const call = done[at % done.length];
    if (call === undefined) return;
    this.#calls = this.#calls.filter(other => other !== call);
    if (fail || call.reply === undefined) call.reject(new SseError('UNAVAILABLE', 'broken'));
    else call.resolve(call.reply);
  }

  /** Breaks every connection. */
  breakAll(): void {
    for (const connection of [...this.#connections]) connection.break();
    for (const { reject } of this.#calls.splice(0)) reject(new SseError('UNAVAILABLE', 'broken'));
  }

  /** As the subscriber asks for one. */
  static asRedis(connection: ModelConnection): Redis {
    // It has what the subscriber uses, and nothing else.
    return connection as unknown as Redis;
  }
}
