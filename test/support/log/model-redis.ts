import type { Redis } from 'ioredis';
import { encodePayload } from '../../../src/cluster/redis/frames.js';
import type { RedisGateway } from '../../../src/cluster/redis/gateway.js';
import { Keys } from '../../../src/cluster/redis/keys.js';
import type { HistoryReply, HistoryRequest, LookReply, LookRequest } from '../../../src/cluster/redis/scripts.js';
import { SseError } from '../../../src/errors.js';
import { unsigned } from '../redis/signer-of.js';
import { ModelConnection } from './model-connection.js';
import { type Appended, ModelLog, text } from './model-log.js';

/** A call that Redis has not answered yet. */
interface Call {
  readonly request: HistoryRequest | LookRequest;
  /** Set once it was executed. */
  reply: HistoryReply | LookReply | undefined;
  readonly resolve: (reply: HistoryReply | LookReply) => void;
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
  #executed = 0;
  #read = 0;

  /** Commands and answers that are under way. */
  get calls(): number {
    return this.#calls.length;
  }

  /** Calls that were carried out. */
  get executed(): number {
    return this.#executed;
  }

  /** Entries that were read by these calls. */
  get read(): number {
    return this.#read;
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
    const run = (_script: unknown, request: Call['request']): Promise<HistoryReply | LookReply> =>
      new Promise((resolve, reject) => {
        this.#calls.push({ request, reply: undefined, resolve, reject });
      });
    // Of everything else nothing is called. A call that fails is not repeated by the reader, but by its callers.
    return { keys: this.keys, run, reachable: false } as unknown as RedisGateway;
  }

  /** Carries out one of the calls. */
  execute(at: number): void {
    const waiting = this.#calls.filter(({ reply }) => reply === undefined);
    const call = waiting[at % waiting.length];
    if (call === undefined) return;
    const { request } = call;
    this.#executed += 1;
    if ('topics' in request) {
      const reply = this.log.history(request);
      if (reply.status === 'OK') this.#read += reply.entries.length;
      call.reply = reply;
    } else call.reply = this.log.look(request.last.map(key => this.#streamOf(key)));
  }

  /** The stream of the topic whose last id has this key. */
  #streamOf(last: string): string {
    return last.replace('{log}:p:', '{log}:t:');
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
