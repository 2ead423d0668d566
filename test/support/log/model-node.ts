import type { MemoryBus } from '../../../src/cluster/memory/bus.js';
import type { ClusterNode } from '../../../src/cluster/redis/cluster-node.js';
import { LogFeed } from '../../../src/cluster/redis/feed.js';
import { LogReader } from '../../../src/cluster/redis/log-reader.js';
import { RedisSubscriber } from '../../../src/cluster/redis/subscriber.js';
import { LogTail, retentionMs } from '../../../src/cluster/redis/tail.js';
import type { ClusterCoordinator } from '../../../src/contracts/cluster.js';
import type { ClusterListener } from '../../../src/contracts/listener.js';
import { type ResolvedSseOptions, resolveOptions, type SseOptions } from '../../../src/options/sse-options.js';
import { alteredCoordinator } from '../altered-coordinator.js';
import { RecordingLogger } from '../recording-logger.js';
import { TestNode } from '../test-node.js';
import type { ModelConnection } from './model-connection.js';
import { ModelRedis } from './model-redis.js';
import { unsigned } from '../redis/signer-of.js';

/** A whole node, of which only Redis is a model: service, feed, reader and subscriber are the real ones. */
export class ModelNode {
  readonly node: TestNode;
  readonly logger = new RecordingLogger();
  /** Numbers of the entries that the feed delivered, in order. */
  readonly delivered: number[] = [];
  readonly #options: ResolvedSseOptions;
  #feed: LogFeed | undefined;
  #reader: LogReader | undefined;
  #subscriber: RedisSubscriber | undefined;
  #connection: ModelConnection | undefined;

  constructor(
    readonly id: string,
    private readonly redis: ModelRedis,
    bus: MemoryBus,
    history: SseOptions['history'] = {},
  ) {
    this.#options = resolveOptions({ node: { id }, history });
    this.node = new TestNode(id, bus, {
      options: { onUnavailable: 'reject', mailbox: { enabled: false } },
      wrap: inner => this.#coordinator(inner),
    });
  }

  get reader(): LogReader {
    if (this.#reader === undefined) throw new Error('the node has not started');
    return this.#reader;
  }

  get feed(): LogFeed {
    if (this.#feed === undefined) throw new Error('the node has not started');
    return this.#feed;
  }

  /** Its present connection for subscriptions. */
  get connection(): ModelConnection | undefined {
    return this.#connection;
  }

  get up(): boolean {
    return this.#subscriber?.up ?? false;
  }

  stop(): void {
    this.#feed?.close();
    this.#subscriber?.close();
  }

  #coordinator(inner: ClusterCoordinator): ClusterCoordinator {
    return alteredCoordinator(inner, {
      start: async listener => {
        await inner.start(listener);
        if (this.#feed === undefined) this.#start(listener);
      },
      log: {
        subscribe: async topics => this.feed.subscribe(topics),
        unsubscribe: topics => this.#feed?.unsubscribe(topics),
        position: () => this.#feed?.position,
        replay: async request => this.reader.replay(request),
      },
    });
  }

  #start(listener: ClusterListener): void {
    const { redis } = this;
    const probeChannel = `probe:${this.id}`;
    const subscriber = new RedisSubscriber(
      {
        mode: 'classic',
        probeChannel,
        connect: async () => {
          this.#connection = redis.connect();
          return ModelRedis.asRedis(this.#connection);
        },
        publish: async (channel, message) => redis.send(channel, Buffer.from(message)),
      },
      {
        onMessage: (channel, message) => this.feed.onFrame(channel, message),
        onUp: () => this.feed.onUp(),
        onDown: () => this.feed.onDown(),
      },
    );
    this.#subscriber = subscriber;
    const onPublication: ClusterListener['onPublication'] = (topic, frame, trace) => {
      if (frame.position !== undefined) this.delivered.push(frame.position.sequence);
      listener.onPublication(topic, frame, trace);
    };
    const watched: object = { onPublication: { value: onPublication } };
    const shared = this.#shared(Object.create(listener, watched as PropertyDescriptorMap) as ClusterListener);
    const tail = new LogTail(this.#options.history.tail, topic => retentionMs(this.#options, topic));
    this.#reader = new LogReader(shared, tail, { noteTopics: () => undefined });
    this.#feed = new LogFeed(shared, subscriber, this.#reader, tail);
    subscriber.open();
  }

  #shared(listener: ClusterListener): ClusterNode {
    const options = this.#options;
    const { gateway } = this.redis;
    const shared = {
      nodeId: this.id,
      inc: this.id,
      options,
      gateway,
      signer: unsigned(),
      logger: this.logger,
      listener,
    };
    // Neither feed nor reader reports maintenance.
    return shared as unknown as ClusterNode;
  }
}
