import type { Happening, HappeningsEvent, NodeReading, SendRecord, SendsEvent } from './contract.js';
import { isReading } from './reading.js';
import { type ConnectionsQuery, type SortKey, SORTS, STATES, TOPIC_SORTS, type TopicSort } from './rows.js';
import {
  type Check,
  isFlag,
  isKind,
  isListOf,
  isNumber,
  isOneOf,
  isRecordOf,
  isShape,
  isText,
  orNull,
} from './shape.js';

/** What a node may be asked. */
export type Question =
  | { readonly kind: 'nodes' | 'activity' | 'drain' }
  | { readonly kind: 'connections'; readonly query: ConnectionsQuery }
  | { readonly kind: 'topics'; readonly search: string; readonly sort: TopicSort; readonly limit: number }
  | { readonly kind: 'sources'; readonly search: string };

/** What a node measured in one period. */
export interface Sample {
  readonly reading: NodeReading;
  readonly activity: HappeningsEvent & { readonly sends: SendsEvent };
}

/** What one node remembers. */
export interface ActivityPart {
  readonly recording: boolean;
  readonly happenings: readonly Happening[];
  readonly sends: readonly SendRecord[];
}

/** The most rows of one answer. */
export const MOST_ROWS = 200;

const isLimit: Check<number> = (value): value is number =>
  isNumber(value) && Number.isInteger(value) && value >= 1 && value <= MOST_ROWS;

export const isSortKey: Check<SortKey> = isShape<SortKey>({ value: isNumber, connectionId: isText, nodeId: isText });

const isConnectionsQuery = isShape<ConnectionsQuery>({
  search: isText,
  user: orNull(isText),
  topic: orNull(isText),
  state: orNull(isOneOf(...STATES)),
  sort: isOneOf(...SORTS),
  limit: isLimit,
  after: orNull(isSortKey),
});

type Plain = Extract<Question, { readonly kind: 'nodes' | 'activity' | 'drain' }>;

const isPlain: Check<Plain> = isShape<Plain>({ kind: isOneOf('nodes', 'activity', 'drain') });
const isAsked: Check<Exclude<Question, Plain>> = isKind<Exclude<Question, Plain>>({
  connections: isShape({ kind: isOneOf('connections'), query: isConnectionsQuery }),
  topics: isShape({ kind: isOneOf('topics'), search: isText, sort: isOneOf(...TOPIC_SORTS), limit: isLimit }),
  sources: isShape({ kind: isOneOf('sources'), search: isText }),
});

export const isQuestion: Check<Question> = (value): value is Question => isPlain(value) || isAsked(value);

const base = { id: isText, at: isNumber, nodeId: isText };
const isCircuit = isOneOf('closed', 'half-open', 'open');
const isAction = isOneOf('send', 'publish', 'close', 'revoke', 'drain', 'stop-source');

const isHappening: Check<Happening> = isKind<Happening>({
  connect: isShape({
    ...base,
    kind: isOneOf('connect'),
    connectionId: isText,
    user: orNull(isText),
    resumed: isFlag,
    degraded: isFlag,
  }),
  close: isShape({ ...base, kind: isOneOf('close'), connectionId: isText, reason: isText, ageMs: isNumber }),
  takeover: isShape({ ...base, kind: isOneOf('takeover'), connectionId: isText, ageMs: isNumber }),
  revoke: isShape({ ...base, kind: isOneOf('revoke'), connectionId: isText, reason: isText, ageMs: isNumber }),
  refuse: isShape({ ...base, kind: isOneOf('refuse'), connectionId: orNull(isText), code: isText }),
  gap: isShape({ ...base, kind: isOneOf('gap'), connectionId: orNull(isText), reason: isText }),
  drain: isShape({ ...base, kind: isOneOf('drain') }),
  repair: isShape({ ...base, kind: isOneOf('repair'), repairs: isRecordOf(isNumber) }),
  circuit: isShape({ ...base, kind: isOneOf('circuit'), operation: isText, state: isCircuit }),
  health: isShape({ ...base, kind: isOneOf('health'), ready: isFlag, reasons: isListOf(isText) }),
  'node-up': isShape({ ...base, kind: isOneOf('node-up') }),
  'node-down': isShape({ ...base, kind: isOneOf('node-down') }),
  action: isShape({ ...base, kind: isOneOf('action'), action: isAction, target: isText, outcome: isText }),
});

const isSend: Check<SendRecord> = isShape<SendRecord>({
  ...base,
  ms: isNumber,
  kind: isOneOf('send', 'publish', 'broadcast'),
  to: isText,
  event: isText,
  outcome: isText,
  code: orNull(isText),
  ownerNodeId: orNull(isText),
  messageId: orNull(isText),
  entryId: orNull(isText),
  traceId: orNull(isText),
});

export const isSample: Check<Sample> = isShape<Sample>({
  reading: isReading,
  activity: isShape<Sample['activity']>({
    happenings: isListOf(isHappening),
    more: isRecordOf(isNumber),
    sends: isShape<SendsEvent>({ sends: isListOf(isSend), more: isRecordOf(isNumber) }),
  }),
});

export const isActivityPart: Check<ActivityPart> = isShape<ActivityPart>({
  recording: isFlag,
  happenings: isListOf(isHappening),
  sends: isListOf(isSend),
});

/** What a node answers to `drain`. */
export const isAccepted: Check<{ readonly accepted: boolean }> = isShape<{ readonly accepted: boolean }>({
  accepted: isFlag,
});
