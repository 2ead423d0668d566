import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto';
import type { ResolvedSseOptions } from '../../options/sse-options.js';

/** What a frame is for. A frame that was signed for one purpose verifies for no other. */
export type Purpose =
  /** An event for the owner of a connection. */
  | { readonly kind: 'message'; readonly partition: number }
  /** For one node. */
  | { readonly kind: 'node'; readonly inc: string }
  | { readonly kind: 'all-nodes' }
  | { readonly kind: 'publication'; readonly topic: string };

/** A frame as its receiver may use it. */
export type Verdict =
  /** Authentic and new. */
  | ({ readonly kind: 'fresh' } & Authentic)
  /** Its number was received before. */
  | { readonly kind: 'seen' }
  /** Authentic, and from shortly before `since`: it may have been published after it all the same. */
  | { readonly kind: 'early' }
  /** Not authentic, or older or newer than frames are. */
  | { readonly kind: 'doubtful' };

/** A body whose signature is right. `origin` names its sender and number; `undefined` without a secret. */
export interface Authentic {
  readonly body: Buffer;
  readonly origin: Buffer | undefined;
  /** Redis' time of the signature in milliseconds; 0 without a secret. */
  readonly at: number;
}

const MAC_BYTES = 32;
// Random part of the sender's incarnation, lane, number, time.
const SENDER_BYTES = 10;
const LANE = SENDER_BYTES;
const NUMBER = LANE + 1;
const TIME = NUMBER + 6;
const ORIGIN_BYTES = TIME + 8;
/** Bytes of a signature. */
export const SIGNATURE_BYTES = MAC_BYTES + ORIGIN_BYTES;

/** Frames of one lane arrive in the order of their numbers. The lanes of messages are their partitions. */
const LANES = { node: 16, 'all-nodes': 17, publication: 18 } as const;
const FOR_SEVERAL: ReadonlySet<number | undefined> = new Set([LANES['all-nodes'], LANES.publication]);
/** Milliseconds that a frame may need between its signature and its publication, as a rule. */
const FLIGHT = 1_000;
/** Milliseconds after which registrations are forgotten that are too old: each walk passes the places of those before. */
const FORGET_EVERY = 1_000;
/** Milliseconds that Redis' clock may differ between two nodes while a master changes. */
const CLOCK_SLACK = 5_000;

/**
 * Signs frames with `control.secret`, and verifies those of others. A signature is an HMAC-SHA256 over purpose, sender,
 * number, time and body: `<HMAC><sender><lane><number><time>` in front of the body. The first secret signs, all verify.
 *
 * A receiver accepts a number of a sender once, and no frame that is older than `control.maxAge` or than the receiver. So a
 * recorded frame has no effect when it is sent again, at once or later. Memory grows with the nodes, not with the frames.
 * Without a secret frames pass as they are.
 */
export class FrameSigner {
  readonly #secrets: readonly KeyObject[];
  readonly #maxAge: number;
  readonly #sender: Buffer;
  readonly #numbers = new Map<number, number>();
  readonly #windows = new Map<string, Window>();
  /** Redis' time before which connections were not registered, by token; only those that are younger than `maxAge`. */
  readonly #registered = new Map<string, number>();
  /** Redis' time before which registrations were forgotten last. */
  #forgotten = -Infinity;

  constructor(
    inc: string,
    { secret, maxAge }: ResolvedSseOptions['control'],
    private readonly clock: Pick<RedisClock, 'begin' | 'earliest' | 'latest' | 'raise'>,
  ) {
    this.#secrets = (secret === undefined ? [] : [secret].flat()).map(each => createSecretKey(Buffer.from(each)));
    this.#maxAge = maxAge;
    this.#sender = Buffer.from(inc.slice(-2 * SENDER_BYTES), 'hex');
  }

  /** Whether there is a secret. */
  get signs(): boolean {
    return this.#secrets.length > 0;
  }

  /** Redis' time that no frame which was signed before now can have; 0 without a secret. */
  get now(): number {
    return this.signs ? (this.clock.latest ?? 0) : 0;
  }

  /** `head`, the signature if there is a secret, and the body. */
  sign(purpose: Purpose, body: Buffer, head = ''): Buffer {
    const [secret] = this.#secrets;
    if (secret === undefined) return head === '' ? body : Buffer.concat([Buffer.from(head, 'latin1'), body]);
    const signed = Buffer.allocUnsafe(head.length + SIGNATURE_BYTES + body.length);
    signed.write(head, 'latin1');
    body.copy(signed, head.length + SIGNATURE_BYTES);
    const origin = signed.subarray(head.length + MAC_BYTES, head.length + SIGNATURE_BYTES);
    const lane = laneOf(purpose);
    const number = (this.#numbers.get(lane) ?? 0) + 1;
    this.#numbers.set(lane, number);
    this.#sender.copy(origin);
    origin.writeUInt8(lane, LANE);
    origin.writeUIntBE(number, NUMBER, 6);
    origin.writeDoubleBE(this.clock.earliest ?? 0, TIME);
    mac(secret, purpose, signed.subarray(head.length + MAC_BYTES)).copy(signed, head.length);
    return signed;
  }

  /**
   * Whether the frame is authentic and new, and its body.
   * @param since Redis' time; older frames are not new @param read Redis' time; what frames that are older than both can
   * have brought is known
   */
  verify(purpose: Purpose, signed: Buffer, since = 0, read = 0): Verdict {
    if (!this.signs) return { kind: 'fresh', body: signed, at: 0, origin: undefined };
    if (signed.length < SIGNATURE_BYTES) return { kind: 'doubtful' };
    const origin = signed.subarray(MAC_BYTES, SIGNATURE_BYTES);
    // Before the HMAC, so that a flood of recorded frames costs little.
    const kind = this.#noveltyOf(origin, since, read);
    if (kind === 'seen' || kind === 'doubtful') return { kind };
    const authentic = this.authentic(purpose, signed);
    if (authentic === undefined) return { kind: 'doubtful' };
    this.saw(origin);
    // So a sender that is answered has a clock no earlier than that of the answering node.
    this.clock.raise(authentic.at);
    if (kind === 'early') return { kind };
    return { kind, ...authentic };
  }

  /** The body that was signed for this purpose, whenever that was; `undefined` when it was not. */
  authentic(purpose: Purpose, signed: Buffer): Authentic | undefined {
    if (!this.signs) return { body: signed, origin: undefined, at: 0 };
    if (signed.length < SIGNATURE_BYTES || !isLaneOf(purpose, signed[MAC_BYTES + LANE])) return undefined;
    const rest = signed.subarray(MAC_BYTES);
    const given = signed.subarray(0, MAC_BYTES);
    const right = this.#secrets.some(secret => timingSafeEqual(mac(secret, purpose, rest), given));
    if (!right) return undefined;
    const origin = rest.subarray(0, ORIGIN_BYTES);
    return { body: rest.subarray(ORIGIN_BYTES), origin, at: origin.readDoubleBE(TIME) };
  }

  /** Notes an authentic frame that came another way, so that the frame itself has no effect any more. */
  saw(origin: Buffer | undefined): void {
    if (origin === undefined) return;
    const at = origin.readDoubleBE(TIME);
    if (at < this.#oldest()) return;
    const key = origin.toString('latin1', 0, NUMBER);
    let window = this.#windows.get(key);
    if (window === undefined) {
      for (const [old, { newest }] of this.#windows) if (newest < this.#oldest()) this.#windows.delete(old);
      window = new Window();
      this.#windows.set(key, window);
    }
    window.add(origin.readUIntBE(NUMBER, 6), at);
  }

  /** To be called before a connection is registered. */
  registering(token: string): void {
    if (!this.signs) return;
    const oldest = this.#oldest();
    if (oldest >= this.#forgotten + FORGET_EVERY) this.#forget(oldest);
    this.#registered.delete(token);
    this.#registered.set(token, this.clock.earliest ?? 0);
  }

  #forget(oldest: number): void {
    this.#forgotten = oldest;
    for (const [token, time] of this.#registered) {
      if (time >= oldest) return;
      this.#registered.delete(token);
    }
  }

  /**
   * Whether a message that was signed at this time can be for the connection with this token. One that is older than the
   * registration was for another owner of the id, or is repeated by its sender.
   */
  isFor(token: string, at: number): boolean {
    return !this.signs || at >= (this.#registered.get(token) ?? 0);
  }

  #noveltyOf(origin: Buffer, since: number, read: number): Verdict['kind'] {
    const { earliest, latest, begin } = this.clock;
    if (earliest === undefined || latest === undefined || begin === undefined) return 'doubtful';
    const at = origin.readDoubleBE(TIME);
    const oldest = Math.max(since - FLIGHT, earliest - this.#maxAge);
    if (!(at >= oldest)) return at < read ? 'seen' : 'doubtful';
    if (at > latest + CLOCK_SLACK) return 'doubtful';
    const window = this.#windows.get(origin.toString('latin1', 0, NUMBER));
    // A frame for several nodes can be from before this one.
    const isOlder = window === undefined && FOR_SEVERAL.has(origin[LANE]) && at < begin;
    const kind = isOlder ? 'doubtful' : (window?.noveltyOf(origin.readUIntBE(NUMBER, 6)) ?? 'fresh');
    return kind === 'fresh' && at < since ? 'early' : kind;
  }

  /** Redis' time before which frames are too old. */
  #oldest(): number {
    return (this.clock.earliest ?? 0) - this.#maxAge;
  }
}

const WINDOW = 1_024;

/** The numbers that were received of one sender and lane: the highest, and which of the 1,024 up to it. */
class Window {
  readonly #bits = new Uint32Array(WINDOW / 32);
  #highest = 0;
  /** Newest time of its frames. */
  newest = 0;

  noveltyOf(number: number): Verdict['kind'] {
    if (number > this.#highest) return 'fresh';
    if (number <= this.#highest - WINDOW) return 'doubtful';
    return ((this.#bits[wordOf(number)] ?? 0) & bitOf(number)) === 0 ? 'fresh' : 'seen';
  }

  add(number: number, at: number): void {
    this.newest = Math.max(this.newest, at);
    if (number <= this.#highest - WINDOW) return;
    if (number >= this.#highest + WINDOW) this.#bits.fill(0);
    else for (let skipped = this.#highest + 1; skipped < number; skipped += 1) this.#set(skipped, false);
    this.#set(number, true);
    this.#highest = Math.max(this.#highest, number);
  }

  #set(number: number, on: boolean): void {
    const word = wordOf(number);
    const before = this.#bits[word] ?? 0;
    this.#bits[word] = on ? before | bitOf(number) : before & ~bitOf(number);
  }
}

function wordOf(number: number): number {
  return Math.floor((number % WINDOW) / 32);
}

function bitOf(number: number): number {
  return 1 << (number % 32);
}

function laneOf(purpose: Purpose): number {
  return purpose.kind === 'message' ? purpose.partition : LANES[purpose.kind];
}

/** A message is found to be for a partition only once it is parsed; any partition's lane will do. */
function isLaneOf({ kind }: Purpose, lane: number | undefined): boolean {
  return kind === 'message' ? lane !== undefined && lane < LANES.node : lane === LANES[kind];
}

/** Over the address with its length in front, then everything behind the HMAC. */
function mac(secret: KeyObject, purpose: Purpose, rest: Buffer): Buffer {
  const address = Buffer.from(addressOf(purpose));
  const length = Buffer.from([address.length >> 8, address.length & 0xff]);
  return createHmac('sha256', secret).update(length).update(address).update(rest).digest();
}

function addressOf(purpose: Purpose): string {
  switch (purpose.kind) {
    case 'node':
      return purpose.inc;
    case 'publication':
      return purpose.topic;
    case 'message':
    case 'all-nodes':
      return '';
  }
}

/** Milliseconds by which a monotonic clock may go wrong in one millisecond. */
const DRIFT = 0.0005;
/** In milliseconds. */
const MICROSECOND = 0.001;

/**
 * Redis' clock as a node knows it: from the times in script answers, and its own monotonic clock in between. In a Redis
 * Cluster it is the clock of one master, the same for all nodes.
 */
export class RedisClock {
  /** Bounds of Redis' time minus monotonic time, as they were at `at`. */
  #offset: { readonly low: number; readonly high: number; readonly at: number } | undefined;
  #begin: number | undefined;

  /** The time in Redis' first answer; `undefined` before. */
  get begin(): number | undefined {
    return this.#begin;
  }

  /** A time in milliseconds at which Redis certainly was, never after its present time; `undefined` before an answer. */
  get earliest(): number | undefined {
    const bounds = this.#bounds(performance.now());
    return bounds && performance.now() + bounds.low;
  }

  /** A time in milliseconds that Redis certainly has not passed; `undefined` before an answer. */
  get latest(): number | undefined {
    const bounds = this.#bounds(performance.now());
    return bounds && performance.now() + bounds.high;
  }

  /** @param redis milliseconds in an answer, exact to a microsecond @param sentAt monotonic time at which the call was made */
  observe(redis: number, sentAt: number): void {
    const at = performance.now();
    const known = this.#bounds(at) ?? { low: -Infinity, high: Infinity };
    const [low, high] = [redis - at, redis + MICROSECOND - sentAt];
    // Without a common part Redis' clock was changed, or another master answers.
    const fits = low <= known.high && known.low <= high;
    this.#begin ??= redis;
    this.#offset = fits ? { low: Math.max(low, known.low), high: Math.min(high, known.high), at } : { low, high, at };
  }

  /** Notes that Redis had reached this time, as another node knew; a time that this node excludes changes nothing. */
  raise(redis: number): void {
    const at = performance.now();
    const known = this.#bounds(at);
    const low = redis - at;
    if (known !== undefined && low > known.low && low <= known.high) this.#offset = { low, high: known.high, at };
  }

  #bounds(now: number): { readonly low: number; readonly high: number } | undefined {
    if (this.#offset === undefined) return undefined;
    const { low, high, at } = this.#offset;
    const drift = (now - at) * DRIFT;
    return { low: low - drift, high: high + drift };
  }
}
