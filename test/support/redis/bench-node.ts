import type { Partition } from '../../../src/cluster/redis/keys.js';
import type { RequestOf } from '../../../src/cluster/redis/script.js';
import {
  countersScript,
  type Lease,
  type LeaseReply,
  leaseScript,
  refreshScript,
  type RegisterAnswer,
  type RegisterRequest,
  registerScript,
  sendScript,
  unregisterScript,
} from '../../../src/cluster/redis/scripts.js';
import type { ScriptBench } from './script-bench.js';

export const LEASE_MS = 15_000;
export const TTL_MS = 60_000;
const KEY_MS = 3_600_000;
/** In place of PUBLISH: what a script publishes goes to a list, which a test reads without waiting. */
const RECORDED = 'RPUSH' as RegisterRequest['pubCommand'];

/** What one registration may say. */
type One = Partial<Omit<RegisterRequest, 'partition' | 'registrations' | 'tombstones'>> & {
  readonly partition?: Partition;
  readonly user?: string | undefined;
  readonly fencingToken?: number | undefined;
  readonly room?: number;
  /** Of each of its counters. */
  readonly limits?: string;
};
type Message = RequestOf<typeof sendScript>['messages'][number];
/** A message; no other node sends it again unless it has a mark. */
type OneMessage = Pick<Message, 'conn' | 'payload'> &
  Partial<Message> & {
    readonly mark?: string;
    readonly named?: string;
    readonly pubCommand?: RegisterRequest['pubCommand'];
    readonly counts?: boolean;
    readonly epoch?: string;
    readonly partition?: Partition;
  };
type Registration = Pick<RegisterRequest['registrations'][number], 'conn' | 'tok'> &
  Partial<Pick<RegisterRequest['registrations'][number], 'user'>> &
  Partial<RegisterRequest['registrations'][number]['more']>;
/** The answer to one registration, with its result as its status. */
type OneReply =
  | { readonly status: 'LOST' }
  | (Omit<RegisterAnswer, 'result'> & { readonly status: RegisterAnswer['result']; readonly now: number });

/** A node as the scripts see it: its incarnation and what it believes of its lease, in one partition or several. */
export class BenchNode {
  readonly #leases = new Map<number, Lease>();
  #epochs = 0;

  constructor(
    private readonly bench: ScriptBench,
    readonly inc: string,
  ) {}

  believed(partition = this.bench.partition(0)): Lease | undefined {
    return this.#leases.get(partition.number);
  }

  gen(partition = this.bench.partition(0)): string {
    return this.believed(partition)?.gen ?? '0';
  }

  /** The epoch that its next lease would begin. */
  get nextEpoch(): string {
    return `${this.inc}${this.#epochs + 1}`;
  }

  /** Renews its lease; stores the answer unless `forget` is set, as when the answer is lost. */
  async lease({ partition = this.bench.partition(0), schema = '1/test', forget = false } = {}) {
    const newEpoch = this.nextEpoch;
    this.#epochs += 1;
    const reply: LeaseReply = await this.bench.gateway.run(leaseScript, {
      partition,
      inc: this.inc,
      believed: this.believed(partition),
      leaseMs: LEASE_MS,
      keyMs: KEY_MS,
      schema,
      newEpoch,
    });
    if ('lease' in reply && !forget) this.#leases.set(partition.number, reply.lease);
    return reply;
  }

  async register(
    conn: string,
    tok: string,
    { user, fencingToken, room, limits = '', ...more }: One = {},
  ): Promise<OneReply> {
    const reply = await this.registerAll([{ conn, tok, user, fencingToken, room, limits }], more);
    if (reply.status !== 'OK') return reply;
    const [answer] = reply.answers;
    if (answer === undefined) throw new Error('no answer');
    const { result, ...rest } = answer;
    return { status: result, ...rest, now: reply.now };
  }

  /** Several registrations in one call. */
  async registerAll(
    registrations: readonly Registration[],
    more: Partial<Omit<RegisterRequest, 'partition' | 'registrations'>> & { readonly partition?: Partition } = {},
  ) {
    const partition = more.partition ?? this.bench.partition(0);
    const reply = await this.bench.gateway.run(registerScript, {
      tombstones: registrations.map(({ tok }) => this.#tombstone(partition, tok)),
      counters: [],
      inc: this.inc,
      gen: this.gen(partition),
      registrations: registrations.map(({ conn, tok, user, ...one }) => {
        const none = { fencingToken: undefined, room: undefined, limits: '', trace: undefined };
        return { conn, tok, user, more: { ...none, ...one } };
      }),
      mode: 'take',
      ttlMs: TTL_MS,
      leaseMs: LEASE_MS,
      keyMs: KEY_MS,
      takeoverLimit: 5,
      takeoverWindow: 30_000,
      numsub: undefined,
      pubCommand: 'PUBLISH',
      ...more,
      partition,
    });
    if (reply.status !== 'OK') return reply;
    return { ...reply, answers: reply.numbers.flatMap(number => reply.answers[number] ?? []) };
  }

  /** Counts a connection where a counter is elsewhere, or counts it no more. */
  async count(mode: 'enter' | 'renew' | 'leave', counter: string, tok: string, limits: string) {
    const { leases } = this.bench.partition(0);
    const request = { leases, counters: [counter], gen: this.gen(), mode, keyMs: KEY_MS, entries: [{ tok, limits }] };
    return (await this.bench.gateway.run(countersScript, request)).results[0];
  }

  /** The same; its notifications are in {@link ScriptBench.notifications}. */
  registerRecorded(conn: string, tok: string, more: One & { readonly partition: Partition }): Promise<OneReply> {
    const partition = {
      ...more.partition,
      channelPrefix: this.bench.notificationPrefix(more.partition),
    };
    return this.register(conn, tok, { ...more, partition, pubCommand: RECORDED });
  }

  async unregister(
    conn: string,
    tok: string,
    { partition = this.bench.partition(0), tombstoneMs = 0 }: { partition?: Partition; tombstoneMs?: number } = {},
  ) {
    const [result] = await this.unregisterAll([{ conn, tok, tombstoneMs }], partition);
    return result;
  }

  /** Several removals in one call. */
  async unregisterAll(
    registrations: readonly { readonly conn: string; readonly tok: string; readonly tombstoneMs: number }[],
    partition = this.bench.partition(0),
  ) {
    const tombstones = registrations.map(({ tok }) => this.#tombstone(partition, tok));
    const request = { partition, tombstones, inc: this.inc, registrations };
    return (await this.bench.gateway.run(unregisterScript, request)).results;
  }

  /** Sends one message; the answer has what its status promises. */
  async send(message: OneMessage) {
    const [answer, ...others] = await this.sendAll([message], message);
    if (answer === undefined || others.length > 0) throw new Error('one message must get one answer');
    return answer;
  }

  /** Several messages in one call. */
  async sendAll(
    messages: readonly OneMessage[],
    more: Pick<OneMessage, 'partition' | 'pubCommand' | 'counts' | 'epoch'> = {},
  ) {
    const { partition = this.bench.partition(0), pubCommand = 'PUBLISH', counts = true } = more;
    const { outcomes, numbers } = await this.bench.gateway.run(sendScript, {
      partition,
      marks: messages.flatMap(({ mark }) => mark ?? []),
      epoch: more.epoch ?? this.believed(partition)?.epoch ?? '',
      counts,
      pubCommand,
      named: messages.some(({ named }) => named) ? messages.map(({ named = '' }) => named).join('\n') : '',
      messages: messages.map(({ conn, payload }) => ({ conn, payload })),
    });
    return numbers.map(number => {
      const { status, inc, tok, receivers } = outcomes[number] ?? {};
      if (status === 'ROUTED') return { status, inc, receivers };
      return status === 'FORMER' ? { status, inc, tok } : { status };
    });
  }

  /** As {@link send}, with the token of the connection that its owner gets, and no count of subscribers. */
  async sendRecorded(message: OneMessage) {
    const { partition = this.bench.partition(0) } = message;
    const channelPrefix = this.bench.publicationPrefix(partition);
    const to = { ...partition, channelPrefix };
    const answer = await this.send({ ...message, partition: to, pubCommand: RECORDED });
    if (answer.status !== 'ROUTED') return answer;
    const { status, inc = '' } = answer;
    const publication = await this.bench.takePublication(channelPrefix + inc);
    return { status, inc, tok: publication.slice(0, publication.indexOf(' ')) };
  }

  async refresh(
    connections: readonly { readonly conn: string; readonly tok: string }[],
    { partition = this.bench.partition(0), ttlMs = TTL_MS } = {},
  ) {
    const { inc } = this;
    const times = { ttlMs, leaseMs: LEASE_MS, keyMs: KEY_MS };
    const request = { partition, inc, gen: this.gen(partition), ...times, connections };
    return this.bench.gateway.run(refreshScript, request);
  }

  #tombstone(partition: Partition, tok: string): string {
    const tombstone = this.bench.keys.tombstone(partition, this.inc, tok);
    this.bench.tombstones.add(tombstone);
    return tombstone;
  }
}
