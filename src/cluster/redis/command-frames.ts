import { randomBytes } from 'node:crypto';
import type { Revocation } from '../../contracts/authorization.js';
import {
  carriedTrace,
  checkConnectionId,
  checkKey,
  checkReason,
  checkTopic,
  isOwnTopic,
  isReportToken,
  MOST_REPORTED,
} from '../../protocol/names.js';
import { asObject, hasKeys, isIncarnation, isText, type JsonFields, parseJson } from './frames.js';

type Guard = (value: unknown) => boolean;

const isConnectionId = passes(checkConnectionId);
const isTopic = passes(checkTopic);
const isFollowable = (value: unknown): value is string => isTopic(value) || (isText(value, 1024) && isOwnTopic(value));
const isReason = passes(checkReason);
const isKey = passes((value: unknown): asserts value is string => checkKey('a source key', value));

/** Every command by its name `t`: its fields and what each may be. No command has other fields. */
const COMMANDS = {
  join: {},
  leave: {},
  ping: {},
  count: {},
  sync: { repaired: isCount },
  close: { connectionId: isConnectionId, reason: isReason },
  closeAll: { reason: isReason },
  revoke: {
    id: isRevocationId,
    target: isConnectionId,
    topics: isTopics,
    reason: isReason,
    cut: isFlag,
    ttl: isCount,
    age: isCount,
  },
  subscribe: { connectionId: isConnectionId, topic: isTopic },
  unsubscribe: { connectionId: isConnectionId, topic: isTopic },
  endSource: { key: isKey },
  outcomeOf: { connectionId: isConnectionId, messageId: isKey, age: isCount },
  hasReached: { connectionId: isConnectionId, ms: isCount, sequence: isCount },
  confirm: { connectionId: isConnectionId, token: isReportToken, handled: isMessageIds, failed: isMessageIds },
  isConfirmed: { connectionId: isConnectionId, messageId: isKey, ms: isCount },
  presence: { topic: isFollowable },
} satisfies Record<string, Record<string, Guard>>;

type Fields<G> = { readonly [F in keyof G]: G[F] extends (v: unknown) => v is infer T ? T : never };

/** A command that one node sends to another. */
export type Command = {
  [T in keyof typeof COMMANDS]: { readonly t: T } & Fields<(typeof COMMANDS)[T]>;
}[keyof typeof COMMANDS];

/** The sender of a request, which gets the answer. */
export interface RequestSender {
  readonly id: string;
  readonly from: string;
  /** The only node that the request is meant for; all when absent. */
  readonly to?: string;
}

/** A command, its sender, and how long the sender waits. */
export interface CommandRequest extends RequestSender {
  /** Milliseconds by Redis' clock, because the clocks of nodes differ. */
  readonly at: number;
  readonly deadline: number;
  readonly command: Command;
  /** The trace of its cause; not encoded when it cannot be one. */
  readonly trace?: string | undefined;
}

/** The result of a command. */
export type CommandResult = boolean | number | string | string[];

/** The answer of a node to a request. */
export interface CommandAnswer {
  readonly id: string;
  readonly from: string;
  /** False: the command was not carried out, `data` says why. */
  readonly ok: boolean;
  /** More answers of this node follow. */
  readonly more?: boolean;
  readonly data: CommandResult;
}

/** First two bytes of the frames, version included. */
export const REQUEST_KIND = 'c1';
export const ANSWER_KIND = 'r1';

const MAX_BYTES = 256 * 1024;
/** Longest wait for an answer, in milliseconds. */
export const MAX_DEADLINE = 600_000;
/** Connection ids that fit into one answer. */
export const IDS_PER_ANSWER = 500;
const REQUEST_ID = /^[0-9a-f]{24}$/;

/** The revocation that a command asks for. */
export function revocationOf({ t: _, ...revocation }: Command & { readonly t: 'revoke' }): Revocation {
  return revocation;
}

/** An id for a request. */
export function newRequestId(): string {
  return randomBytes(12).toString('hex');
}

/** `c1` and the request as JSON. */
export function encodeRequest(value: CommandRequest): Buffer {
  return Buffer.from(REQUEST_KIND + JSON.stringify({ ...value, trace: carriedTrace(value.trace) }));
}

/**
 * `undefined` for bytes that no version can have written. Without a command when only this version cannot have written
 * them: a newer version knows more.
 */
export function parseRequest(frame: Buffer): CommandRequest | RequestSender | undefined {
  const fields = bodyOf(frame, REQUEST_KIND);
  if (fields === undefined) return undefined;
  const { id, from, to, at, deadline, trace } = fields;
  if (!isId(id) || !isIncarnation(from) || !(to === undefined || isIncarnation(to))) return undefined;
  const sender = { id, from, ...(to !== undefined && { to }) };
  const command = parseCommand(fields['command']);
  const known = hasKeys(fields, ['id', 'from', 'at', 'deadline', 'command'], ['to', 'trace']);
  if (!known || command === undefined || !isCount(at)) return sender;
  if (!isCount(deadline) || deadline > MAX_DEADLINE) return sender;
  if (trace === undefined) return { ...sender, at, deadline, command };
  return isTrace(trace) ? { ...sender, at, deadline, command, trace } : sender;
}

function parseCommand(value: unknown): Command | undefined {
  const fields = asObject(value);
  const t = fields?.['t'];
  if (fields === undefined || typeof t !== 'string' || !Object.hasOwn(COMMANDS, t)) return undefined;
  const guards: Readonly<Record<string, Guard>> = COMMANDS[t as keyof typeof COMMANDS];
  const names = Object.keys(guards);
  if (!hasKeys(fields, ['t', ...names])) return undefined;
  // Each field has passed the guard from which its type is inferred.
  return names.every(name => guards[name]?.(fields[name])) ? (fields as Command) : undefined;
}

/** `r1` and the answer as JSON. */
export function encodeAnswer(value: CommandAnswer): Buffer {
  return Buffer.from(ANSWER_KIND + JSON.stringify(value));
}

/** `undefined` for bytes that this version cannot have written. */
export function parseAnswer(frame: Buffer): CommandAnswer | undefined {
  const fields = bodyOf(frame, ANSWER_KIND);
  if (fields === undefined || !hasKeys(fields, ['id', 'from', 'ok', 'data'], ['more'])) return undefined;
  const { id, from, ok, more, data } = fields;
  if (!isId(id) || !isIncarnation(from) || typeof ok !== 'boolean' || !isResult(data)) return undefined;
  if (more === undefined) return { id, from, ok, data };
  return typeof more === 'boolean' ? { id, from, ok, more, data } : undefined;
}

function isResult(value: unknown): value is CommandResult {
  if (Array.isArray(value)) return value.length <= IDS_PER_ANSWER && value.every(isConnectionId);
  return typeof value === 'boolean' || Number.isSafeInteger(value) || isText(value, 1024);
}

function isId(value: unknown): value is string {
  return typeof value === 'string' && REQUEST_ID.test(value);
}

function isTrace(value: unknown): value is string {
  return typeof value === 'string' && carriedTrace(value) === value;
}

function isMessageIds(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length <= MOST_REPORTED && value.every(isKey);
}

function isRevocationId(value: unknown): value is string {
  return isText(value, 32);
}

function isFlag(value: unknown): value is boolean {
  return typeof value === 'boolean';
}

function isTopics(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every(isTopic);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function bodyOf(frame: Buffer, kind: string): JsonFields | undefined {
  if (frame.length > MAX_BYTES || frame.toString('latin1', 0, kind.length) !== kind) return undefined;
  return parseJson(frame.toString('utf8', kind.length));
}

/** A check that throws, as a question. */
function passes(check: (value: unknown) => asserts value is string) {
  return (value: unknown): value is string => {
    try {
      check(value);
      return true;
    } catch {
      return false;
    }
  };
}
