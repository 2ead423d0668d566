import { z } from 'zod';
import { checkConnectionId, checkReason, checkTopic } from '../../protocol/text-rules.js';
import { isIncarnation } from './incarnation.js';

const MAX_BYTES = 256 * 1024;

const connectionId = z.string().refine(accepted(checkConnectionId));
const reason = z.string().refine(accepted(checkReason));
const topic = z.string().refine(accepted(checkTopic));
const incarnation = z.string().refine(isIncarnation);
const place = z.int().nonnegative();
const id = z.string().regex(/^[0-9a-f]{24}$/);

const command = z.discriminatedUnion('t', [
  z.strictObject({ t: z.literal('join') }),
  z.strictObject({ t: z.literal('leave') }),
  z.strictObject({ t: z.literal('ping') }),
  z.strictObject({ t: z.literal('count') }),
  z.strictObject({ t: z.literal('sync'), repaired: z.int().nonnegative() }),
  z.strictObject({ t: z.literal('close'), connectionId, reason }),
  z.strictObject({ t: z.literal('closeAll'), reason }),
  z.strictObject({ t: z.literal('subscribe'), connectionId, topic }),
  z.strictObject({ t: z.literal('unsubscribe'), connectionId, topic }),
  z.strictObject({ t: z.literal('confirm'), connectionId, ms: place, sequence: place }),
  z.strictObject({ t: z.literal('presence'), topic }),
]);

/** What one node asks of others: when, by Redis' clock, since theirs differ, and how long it waits. */
const request = z.strictObject({
  id,
  from: incarnation,
  /** The only node it is meant for; all when absent. */
  to: incarnation.optional(),
  at: place,
  deadline: z.int().nonnegative().max(600_000),
  command,
});

const answer = z.strictObject({
  id,
  from: incarnation,
  /** False: it was not carried out, `data` says why. */
  ok: z.boolean(),
  /** More answers of this node follow. */
  more: z.boolean().optional(),
  data: z.union([z.boolean(), z.int(), z.string().max(1024), z.array(connectionId).max(500)]),
});

/** What one node asks of another. */
export type Command = z.infer<typeof command>;
/** A command with who asks and how long it waits. */
export type CommandRequest = z.infer<typeof request>;
/** What a node answers to a request. */
export type CommandAnswer = z.infer<typeof answer>;

/** First two bytes of the frames, version included. */
export const REQUEST_KIND = 'c1';
export const ANSWER_KIND = 'r1';

/** Connection ids that fit into one answer. */
export const IDS_PER_ANSWER = 500;

export function encodeRequest(value: CommandRequest): Buffer {
  return Buffer.from(REQUEST_KIND + JSON.stringify(value));
}

export function encodeAnswer(value: CommandAnswer): Buffer {
  return Buffer.from(ANSWER_KIND + JSON.stringify(value));
}

/** `undefined` for anything that this version cannot have written; see {@link idOfUnknown}. */
export function decodeRequest(frame: Buffer): CommandRequest | undefined {
  return request.safeParse(bodyOf(frame, REQUEST_KIND)).data;
}

/** `undefined` for anything that this version cannot have written. */
export function decodeAnswer(frame: Buffer): CommandAnswer | undefined {
  return answer.safeParse(bodyOf(frame, ANSWER_KIND)).data;
}

/** Who asks for a command that this version does not know, so that it can be told instead of waiting. */
export function decodeUnknownRequest(
  frame: Buffer,
): Pick<CommandRequest, 'id' | 'from' | 'to'> | undefined {
  const lenient = z.object({ id, from: incarnation, to: incarnation.optional() });
  return lenient.safeParse(bodyOf(frame, REQUEST_KIND)).data;
}

function bodyOf(frame: Buffer, kind: string): unknown {
  if (frame.length > MAX_BYTES || frame.toString('latin1', 0, kind.length) !== kind)
    return undefined;
  try {
    return JSON.parse(frame.toString('utf8', kind.length));
  } catch {
    return undefined;
  }
}

function accepted(check: (value: unknown) => void): (value: string) => boolean {
  return value => {
    try {
      check(value);
      return true;
    } catch {
      return false;
    }
  };
}
