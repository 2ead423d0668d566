import { createHash } from 'node:crypto';
import { SseError } from '../../errors.js';

/** What decides the names of keys and channels; must be the same on all nodes. */
export interface KeyLayout {
  /** Begins every key and every channel; without `{` and `}`. */
  readonly prefix: string;
  /** Number of the database; 0 in a Redis Cluster. Keys are in it, channels name it: Pub/Sub knows no databases. */
  readonly database: number;
  /** Ends the name of the channel of broadcasts. */
  readonly channel: string;
  /** 1 to 16; `undefined`: 1, or 16 in a Redis Cluster. */
  readonly partitions: number | undefined;
  readonly pubsub: 'classic' | 'sharded';
  /** Whether it is a Redis Cluster. */
  readonly cluster: boolean;
}

/** One share of the connection ids: its keys live in one slot, so that one script changes them together. */
export interface Partition {
  readonly number: number;
  readonly leases: string;
  readonly routes: string;
  readonly index: string;
  /** Channel of a node without its incarnation. */
  readonly channelPrefix: string;
}

/** The keys of one topic of the log. */
export interface TopicKeys {
  readonly stream: string;
  readonly last: string;
}

/** Command that publishes on a channel, and how its subscriber must subscribe. */
export type PubSubMode = 'classic' | 'sharded';

/** Letters of the kinds of channels. */
const ALL_NODES = 'a';
const BROADCASTS = 'b';
const NODE = 'n';
const PROBE = 'p';
const TOPIC = 't';

/**
 * The only place that names keys and channels. Everything of one partition shares one hash tag, everything of the log
 * another, so no call crosses slots. A name never depends on anything but the layout and its arguments.
 *
 * A key is `<prefix>{<hash tag>}:<letter>…`, a channel `<prefix><database>:<letter>:…`. The settings allow no prefix that
 * ends with a digit, so the names of applications with other prefixes or databases differ.
 */
export class Keys {
  /** Written into each partition; a node with another one is refused, because the two could not find each other. */
  readonly schema: string;
  /** All partitions, by number. */
  readonly partitions: readonly Partition[];
  /** How node channels and the control channel are published. */
  readonly nodeMode: PubSubMode;
  /** Whether a publication to a node is answered with its true number of subscribers: not so on the bus of a cluster. */
  readonly countsReceivers: boolean;
  /** Subcommand of PUBSUB that counts the subscribers of a node's channel; `undefined` without {@link countsReceivers}. */
  readonly numsub: 'NUMSUB' | 'SHARDNUMSUB' | undefined;
  /** How the channels of the log are published: sharded in a Redis Cluster, whose bus may drop frames silently. */
  readonly logMode: PubSubMode;
  /** Epoch and last id of the log; names the slot that the log lives in. */
  readonly logMeta: string;
  /** Marks of revocations. */
  readonly logMarks: string;
  /** Events for every connection. */
  readonly broadcastChannel: string;
  /** Commands for every node; always classic. */
  readonly controlChannel: string;

  /** @throws SseError `INVALID_OPTION` when the prefix has braces or the partitions are not 1 to 16. */
  constructor(private readonly layout: KeyLayout) {
    const { prefix, cluster, partitions = cluster ? PARTITION_TAGS.length : 1 } = layout;
    if (/[{}]/.test(prefix)) {
      throw new SseError(
        'INVALID_OPTION',
        `redis.prefix must not have { or }, got '${prefix}': braces would move every key to one slot`,
      );
    }
    if (!Number.isInteger(partitions) || partitions < 1 || partitions > PARTITION_TAGS.length) {
      throw new SseError('INVALID_OPTION', `redis.partitions must be 1 to 16, got ${partitions}`);
    }
    this.nodeMode = cluster ? layout.pubsub : 'classic';
    this.countsReceivers = !cluster || this.nodeMode === 'sharded';
    this.numsub = this.nodeMode === 'sharded' ? 'SHARDNUMSUB' : cluster ? undefined : 'NUMSUB';
    this.logMode = cluster ? 'sharded' : 'classic';
    this.schema = `1/${partitions}/${this.nodeMode}`;
    this.partitions = Array.from({ length: partitions }, (_, number) => this.#partition(number, partitions));
    this.logMeta = `${prefix}{log}:m`;
    this.logMarks = `${prefix}{log}:v`;
    this.broadcastChannel = this.#channel(BROADCASTS, cluster ? `{log}:${layout.channel}` : layout.channel);
    this.controlChannel = this.#channel(ALL_NODES, 'nodes');
  }

  /** The partition of a connection id; every id has exactly one. All ids of a user have the same. */
  partitionOf(connectionId: string): Partition {
    const count = this.partitions.length;
    const partition = this.partitions[count === 1 ? 0 : hashOf(connectionId) % count];
    if (partition === undefined) throw new SseError('INTERNAL', 'no partition for a connection id');
    return partition;
  }

  /** Mark of a registration that was given up while it may still arrive. */
  tombstone(partition: Partition, inc: string, token: string): string {
    return `${partition.leases.slice(0, -1)}d:${inc}:${token}`;
  }

  /** Who last got a message of this id for a connection id. */
  mark(partition: Partition, connectionId: string, messageId: string): string {
    return `${partition.leases.slice(0, -1)}m:${digestOf(connectionId, messageId)}`;
  }

  /** Counts the connections of a user or an address in the partition of its name. */
  counter(partition: Partition, name: string): string {
    return `${partition.leases.slice(0, -1)}c:${name}`;
  }

  /** Keys of a topic; `*` is the topic of broadcasts, `@<connection id>` a mailbox. */
  topic(topic: string): TopicKeys {
    const { prefix } = this.layout;
    return { stream: `${prefix}{log}:t:${topic}`, last: `${prefix}{log}:p:${topic}` };
  }

  /** What is remembered of the subscriptions of a connection id. */
  followed(connectionId: string): string {
    return `${this.layout.prefix}{log}:f:${connectionId}`;
  }

  /** First result of a publication to this topic with this key. */
  idempotency(topic: string, key: string): string {
    return `${this.layout.prefix}{log}:i:${digestOf(topic, key)}`;
  }

  /** A lock, which has one holder at a time. */
  lock(name: string): string {
    return `${this.layout.prefix}{log}:s:${name}`;
  }

  /** Mark of a publication to this topic with this key that is not kept. */
  unkeptMark(topic: string, key: string): string {
    return `${this.layout.prefix}{log}:u:${digestOf(topic, key)}`;
  }

  /** Channel of a topic's publications. */
  topicChannel(topic: string): string {
    return topic === '*' ? this.broadcastChannel : this.#channel(TOPIC, `{log}:${topic}`);
  }

  /** The channel of a node on which answers to it are published. */
  answerChannel(inc: string): string {
    return (this.partitions[0]?.channelPrefix ?? '') + inc;
  }

  /** Every channel on which messages for one node come; in sharded mode one per partition. */
  nodeChannels(inc: string): string[] {
    return [...new Set(this.partitions.map(({ channelPrefix }) => channelPrefix + inc))];
  }

  /** Channel of a subscriber's own probes, in the slot of the channel whose subscription is probed. */
  probeChannel(id: string, near?: string): string {
    const tag = near === undefined ? undefined : /\{[^}]+\}/.exec(near)?.[0];
    return this.#channel(PROBE, tag === undefined ? id : `${tag}:${id}`);
  }

  #channel(letter: string, name: string): string {
    return `${this.layout.prefix}${this.layout.database}:${letter}:${name}`;
  }

  #partition(number: number, count: number): Partition {
    const { prefix } = this.layout;
    // Spread over the table, so that few partitions are as far apart as many; partition 0 has the same tag in every
    // layout, which is how nodes with different ones meet and are refused.
    const tag = `{${PARTITION_TAGS[Math.floor((number * PARTITION_TAGS.length) / count)] ?? ''}}`;
    return {
      number,
      leases: `${prefix}${tag}:l`,
      routes: `${prefix}${tag}:r`,
      index: `${prefix}${tag}:x`,
      channelPrefix: this.#channel(NODE, this.nodeMode === 'sharded' ? `${tag}:` : ''),
    };
  }
}

/** The hash of the user in a connection id; of all of it without one. */
function hashOf(connectionId: string): number {
  const end = connectionId.indexOf('/');
  const hashed = end < 0 ? connectionId : connectionId.slice(0, end);
  return createHash('sha1').update(hashed).digest().readUInt32BE(0);
}

/** 128 bits for a key of the application, which belongs to its topic or connection; of one length however long they are. */
function digestOf(owner: string, key: string): string {
  return createHash('sha256').update(`${owner.length}:${owner}${key}`).digest('base64url').slice(0, 22);
}

/**
 * The hash tags of the sixteen partitions. Tag k hashes near the middle of the k-th sixteenth of Redis Cluster's slots, so
 * that any number of masters gets an even share; the bare numbers 0 to 15 would collide. Never to be changed: the tags
 * decide where existing routes are found.
 */
export const PARTITION_TAGS = [
  '18',
  '5x',
  'dj',
  '3r',
  'd2',
  'pv',
  'uh',
  'iy',
  'ly',
  'h9',
  'uv',
  'q6',
  '9s',
  '5f',
  'dt',
  'ha',
] as const;

/** What publishes in a script. */
type PublishCommand = 'PUBLISH' | 'SPUBLISH';

/** The command of a kind of Pub/Sub. */
export function publishCommand(mode: PubSubMode): PublishCommand {
  return mode === 'sharded' ? 'SPUBLISH' : 'PUBLISH';
}

/** Slots of a Redis Cluster. */
export const SLOTS = 16_384;

/** The Redis Cluster slot of a key or sharded channel: CRC16 (XMODEM) of its hash tag, or of all of it without one. */
export function hashSlot(key: string): number {
  const open = key.indexOf('{');
  const close = open < 0 ? -1 : key.indexOf('}', open + 1);
  const hashed = close > open + 1 ? key.slice(open + 1, close) : key;
  let crc = 0;
  for (const byte of Buffer.from(hashed)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) {
      crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
    }
  }
  return crc % SLOTS;
}
