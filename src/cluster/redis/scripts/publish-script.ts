import type { PublishCommand, TopicKeys } from '../keys.js';
import { defineScript } from './definition.js';

/** What publishing to the log and reading it share. */
export interface LogRequest {
  /** `keys.logMeta`. */
  readonly meta: string;
  /** Milliseconds that epoch and last ids outlive the last use; 10 times the retention. */
  readonly metaMs: number;
  /** Random name for the log's life in case it is empty: 1 to 16 characters of `0-9a-z`. */
  readonly newEpoch: string;
  /** Milliseconds that a new master jumps ahead; more than clocks differ and replication lags. */
  readonly failoverJumpMs: number;
}

export interface PublishRequest extends LogRequest {
  readonly topic: TopicKeys;
  readonly payload: Buffer;
  readonly maxEntries: number;
  /** Milliseconds to keep an entry; 0: no limit. */
  readonly maxAgeMs: number;
  /** Milliseconds the stream lives without a publication. */
  readonly streamMs: number;
  readonly pubCommand: PublishCommand;
  /** Subscribers get `<epoch> <id> <previous> <payload>`; '' publishes nothing. */
  readonly channel: string;
  readonly idempotency?: {
    /** `keys.idempotency` of the caller's key. */
    readonly key: string;
    readonly ms: number;
  };
}

/** `NEW`: appended. `KNOWN`: published before under this key; the first result, nothing was changed. */
export interface PublishReply {
  readonly status: 'NEW' | 'KNOWN';
  /** `<ms>-<sequence>`, decimal. */
  readonly id: string;
  /** Id of the topic's entry before, or a bound when that is forgotten. */
  readonly previous: string;
  readonly epoch: string;
}

/** Appends to the ordered log and publishes. Repeatable only with an idempotency key. */
export const publishScript = defineScript({
  name: 'publish',
  keys: ['meta', 'stream', 'last', 'idempotency'],
  args: [
    'payload',
    'maxEntries',
    'maxAgeMs',
    'streamMs',
    'metaMs',
    'newEpoch',
    'runId',
    'failoverJumpMs',
    'pubCommand',
    'channel',
    'idempotencyMs',
  ],
  statuses: ['NEW', 'KNOWN'],
  usesRunId: true,
  repeatable: ({ idempotency }) => idempotency !== undefined,
  keyValues: ({ meta, topic, idempotency }: PublishRequest) => ({
    meta,
    ...topic,
    // Every key must be given and in the log's slot, used or not.
    idempotency: idempotency?.key ?? meta,
  }),
  argValues: ({ idempotency, ...request }, runId) => ({
    ...request,
    runId,
    idempotencyMs: idempotency?.ms ?? 0,
  }),
  read: (status, reply): PublishReply => ({
    status,
    id: reply.text(1),
    previous: reply.text(2),
    epoch: reply.text(3),
  }),
});
