import type { Position } from '../../contracts/events.js';
import { SseError } from '../../errors.js';
import { LUA } from './lua.js';

/** What a script can be given. */
export type ScriptValue = string | number | Buffer;

/** A script of `lua/` as TypeScript sees it: how a request becomes KEYS and ARGV, and how its reply becomes a value. */
export interface Script<Request, Reply> {
  /** Its file in `lua/`, without `.lua`. */
  readonly name: string;
  /** Names of KEYS, in order, as in the header; those of {@link restKeys} follow. */
  readonly keys: readonly string[];
  /** Names of ARGV, in order, as in the header; those of {@link restArgs} follow. */
  readonly args: readonly string[];
  /** Names of the keys that are repeated after `keys`. */
  readonly restKeys: readonly string[];
  /** Names of the arguments that are repeated after `args`. */
  readonly restArgs: readonly string[];
  /** First words of its replies. */
  readonly statuses: readonly string[];
  /** Whether the reply carries bytes that are not text. */
  readonly binary: boolean;
  /** Whether it needs the run id of the Redis that runs it. */
  readonly usesRunId: boolean;
  /** Whether the same request may be sent again after a failure without an answer. */
  repeatable(request: Request): boolean;
  keysOf(request: Request): string[];
  argsOf(request: Request, runId: string): ScriptValue[];
  /** @throws SseError `INTERNAL` when the reply has none of the described forms */
  parse(reply: unknown): Reply;
}

/** The request of a script. */
export type RequestOf<S> = S extends { keysOf(request: infer Request): unknown } ? Request : never;
/** The reply of a script. */
export type ReplyOf<S> = S extends { parse(reply: unknown): infer Reply } ? Reply : never;

/** One value of a request or a reply, or several that belong together. */
export interface Kind<T> {
  /** How many positions of the reply it takes. */
  readonly width: number;
  /** Whether it has bytes that are not text. */
  readonly binary: boolean;
  /** The values of a group. */
  readonly parts?: Fields;
  readonly isRunId?: true;
  /** The value as a request has it. Default as it is. */
  readonly write?: (given: object) => string;
  /** @throws SseError `INTERNAL` */
  read(reply: ReplyReader, at: number): T;
}

/** Values by name, in the order of the script's. */
export type Shape = Readonly<Record<string, Kind<unknown>>>;
type Fields = readonly (readonly [name: string, kind: Kind<unknown>])[];
type Of<K> = K extends Kind<infer T> ? T : never;
type Values<S extends Shape> = { readonly [N in keyof S]: Of<S[N]> };
type Given<S extends Shape> = { readonly [N in keyof S as S[N] extends typeof runId ? never : N]: Of<S[N]> };
type Lists<S extends Shape> = [S] extends [never] ? unknown : { readonly [N in keyof S]: readonly Of<S[N]>[] };

type Read<T> = (reply: ReplyReader, at: number) => T;

function value<T>(read: Read<T>, binary = false): Kind<T> {
  return { width: 1, binary, read };
}

export const text: Kind<string> = value((reply, at) => reply.text(at));
/** A whole number, also as decimal text. */
export const integer: Kind<number> = value((reply, at) => reply.integer(at));
export const bytes: Kind<Buffer> = value((reply, at) => reply.bytes(at), true);
/** 1 is true. */
export const flag: Kind<boolean> = value((reply, at) => reply.integer(at) === 1);
/** Lua counts from 1. */
export const ordinal: Kind<number> = value((reply, at) => reply.integer(at) - 1);
/** Run id of the Redis that runs the script; the gateway adds it to the request. */
export const runId: Kind<string> & { readonly isRunId: true } = { ...text, isRunId: true };

/** One of these words. */
export function word<const W extends string>(...words: readonly W[]): Kind<W> {
  return value((reply, at) => reply.word(at, words));
}

/** One of these words, as its number, from 0. */
export function numbered<const W extends string>(...words: readonly W[]): Kind<W> {
  return value((reply, at) => reply.word(at, words, words[reply.integer(at)]));
}

/** Values that are one object in TypeScript and stand side by side in Redis. */
export function group<S extends Shape>(parts: S): Kind<Values<S>> {
  const fields = Object.entries(parts);
  // Each name of the shape gets a value of its kind.
  return { ...extent(fields), parts: fields, read: (reply, at) => fill({}, fields, reply, at) as Values<S> };
}

/**
 * One value of a request for several texts and numbers: with line breaks between them, and none at the end. `undefined` is sent
 * as ''. Nearly always most of them are, and each value of a call costs time here and in Redis.
 */
export function lines<S extends Shape>(parts: S): Kind<Values<S>> {
  const names = Object.keys(parts);
  const write = (given: object): string => {
    let [text, breaks] = ['', ''];
    for (const name of names) {
      // The kinds of the parts admit texts and numbers only.
      const part = Reflect.get(given, name) as string | number | undefined;
      if (part !== undefined && part !== '') {
        text += `${breaks}${part}`;
        breaks = '';
      }
      breaks += '\n';
    }
    return text;
  };
  const read = (): never => {
    throw new SseError('INTERNAL', 'lines must be in requests only, got them in a reply');
  };
  return { width: 1, binary: false, write, read };
}

/** In a request `undefined` is sent as ''; in a reply the first value '' stands for `undefined`. */
export function optional<T>(kind: Kind<T>): Kind<T | undefined> {
  return { ...kind, read: (reply, at) => (reply.isEmpty(at) ? undefined : kind.read(reply, at)) };
}

/** Everything from here on, one after the other. */
export function rest<T>(kind: Kind<T>): Kind<readonly T[]> {
  return value((reply, at) => reply.groups(at, kind.width, each => kind.read(reply, each)), kind.binary);
}

/** A list within the reply. */
export function list<T>(kind: Kind<T>): Kind<readonly T[]> {
  const all = rest(kind);
  return value((reply, at) => all.read(reply.list(at), 0), kind.binary);
}

/** A script as it is written down in `scripts.ts`. */
interface Description<
  K extends Shape,
  A extends Shape,
  RK extends Shape,
  RA extends Shape,
  R extends Readonly<Record<string, Shape>>,
> {
  readonly name: string;
  readonly keys: K;
  readonly args: A;
  /** A list of the request whose items follow the other keys. */
  readonly restKeys?: RK;
  /** A list of the request whose items follow the other arguments. */
  readonly restArgs?: RA;
  /** What follows each status. */
  readonly replies: R;
  /** Default: always. */
  readonly repeatable?: (request: Values<K> & Given<A>) => boolean;
}

type Reply<R extends Readonly<Record<string, Shape>>> = {
  [S in keyof R & string]: { readonly status: S } & Values<R[S]>;
}[keyof R & string];

/** Makes a script of its description. The types of request and reply follow from it. */
export function script<
  K extends Shape,
  A extends Shape,
  R extends Readonly<Record<string, Shape>>,
  RK extends Shape = never,
  RA extends Shape = never,
>(described: Description<K, A, RK, RA, R>): Script<Values<K> & Given<A> & Lists<RK> & Lists<RA>, Reply<R>> {
  const { name } = described;
  const fieldsOf = (shape: Shape = {}): Fields => Object.entries(shape);
  const [keys, restKeys] = [fieldsOf(described.keys), fieldsOf(described.restKeys)];
  const [args, restArgs] = [fieldsOf(described.args), fieldsOf(described.restArgs)];
  const replies = new Map(Object.entries(described.replies).map(([status, shape]) => [status, Object.entries(shape)]));
  const statuses = [...replies.keys()];
  return {
    name,
    keys: namesOf(keys),
    args: namesOf(args),
    restKeys: namesOf(restKeys),
    restArgs: namesOf(restArgs),
    statuses,
    binary: [...replies.values()].some(fields => extent(fields).binary),
    usesRunId: args.some(([, { isRunId }]) => isRunId),
    repeatable: described.repeatable ?? (() => true),
    // Every kind of a key is text.
    keysOf: request => valuesOf(request, keys, restKeys, '') as string[],
    argsOf: (request, runId) => valuesOf(request, args, restArgs, runId),
    parse: reply => {
      const reader = new ReplyReader(name, reply);
      const status = reader.word(0, statuses);
      // Each name of the status' shape gets a value of its kind.
      return fill({ status }, replies.get(status) ?? [], reader, 1) as Reply<R>;
    },
  };
}

/** Adds the values of a reply to an object; they begin at `from`. */
function fill(values: Record<string, unknown>, fields: Fields, reply: ReplyReader, from: number): object {
  let at = from;
  for (const [name, kind] of fields) {
    values[name] = kind.read(reply, at);
    at += kind.width;
  }
  return values;
}

function extent(fields: Fields): Pick<Kind<unknown>, 'width' | 'binary'> {
  return {
    width: fields.reduce((sum, [, { width }]) => sum + width, 0),
    binary: fields.some(([, { binary }]) => binary),
  };
}

function namesOf(fields: Fields): string[] {
  return fields.flatMap(([name, { parts }]) => (parts === undefined ? [name] : namesOf(parts)));
}

/** The values of a request in the order of the script: those of `fields`, then the items of the lists in `repeated`. */
function valuesOf(request: object, fields: Fields, repeated: Fields, runId: string): ScriptValue[] {
  const values: ScriptValue[] = [];
  // The type of the request has the fields and lists of the description.
  const given = request as Readonly<Record<string, unknown>>;
  for (const [name, kind] of fields) addValue(values, kind, given[name], runId);
  for (const [name, kind] of repeated) {
    for (const item of given[name] as readonly unknown[]) addValue(values, kind, item, runId);
  }
  return values;
}

function addValue(
  values: ScriptValue[],
  { parts, isRunId, write }: Kind<unknown>,
  given: unknown,
  runId: string,
): void {
  if (write !== undefined) {
    // The type of the request has an object there.
    values.push(write(given as object));
    return;
  }
  if (parts === undefined) {
    // The kinds of single values admit text, numbers, flags and bytes only.
    values.push(isRunId ? runId : typeof given === 'boolean' ? Number(given) : ((given ?? '') as ScriptValue));
    return;
  }
  // An optional group may be absent.
  const group = given as Readonly<Record<string, unknown>> | undefined;
  for (const [name, kind] of parts) addValue(values, kind, group?.[name], runId);
}

/**
 * Reads a script's reply, which is `unknown` until then: position by position, each checked.
 * Every method throws SseError `INTERNAL` when the reply is not as the script promises.
 */
export class ReplyReader {
  readonly #values: readonly unknown[];

  constructor(
    private readonly script: string,
    reply: unknown,
  ) {
    if (!Array.isArray(reply)) throw this.#unexpected('a list', reply);
    this.#values = reply;
  }

  /** A value that must be one of these words; by default it is the one at the position. */
  word<W extends string>(position: number, words: readonly W[], received?: string): W {
    const found = received ?? this.text(position);
    const word = words.find(known => known === found);
    if (word === undefined) throw this.#unexpected(`one of ${words.join(', ')}`, found);
    return word;
  }

  /** Whether the value is the text ''. */
  isEmpty(position: number): boolean {
    const value = this.#values[position];
    return value === '' || (Buffer.isBuffer(value) && value.length === 0);
  }

  text(position: number): string {
    const value = this.#values[position];
    if (typeof value === 'string') return value;
    if (Buffer.isBuffer(value)) return value.toString();
    throw this.#unexpected(`text at ${position}`, value);
  }

  /** A whole number, also as decimal text. */
  integer(position: number): number {
    const value = this.#values[position];
    const number = typeof value === 'number' ? value : Number(this.text(position) || Number.NaN);
    if (!Number.isSafeInteger(number)) throw this.#unexpected(`a whole number at ${position}`, value);
    return number;
  }

  bytes(position: number): Buffer {
    const value = this.#values[position];
    if (Buffer.isBuffer(value)) return value;
    throw this.#unexpected(`bytes at ${position}`, value);
  }

  list(position: number): ReplyReader {
    return new ReplyReader(this.script, this.#values[position]);
  }

  /** The values from `from` on, in groups of `size`; `read` gets the position of each group. */
  groups<T>(from: number, size: number, read: (position: number) => T): T[] {
    const { length } = this.#values;
    if (length < from || (length - from) % size !== 0) {
      throw this.#unexpected(`groups of ${size} from ${from}`, `${length} values`);
    }
    const groups: T[] = [];
    for (let at = from; at < length; at += size) groups.push(read(at));
    return groups;
  }

  #unexpected(expected: string, received: unknown): SseError {
    const got = typeof received === 'string' ? `'${received.slice(0, 80)}'` : typeof received;
    return new SseError(
      'INTERNAL',
      `${this.script}.lua must answer ${expected}, got ${got}; all nodes must run the same version`,
    );
  }
}

const ENTRY_ID = /^([0-9]{1,16})-([0-9]{1,16})$/;

/** An id of the log, `<ms>-<sequence>` in decimal. */
export function parsePosition(id: string): Position | undefined {
  const match = ENTRY_ID.exec(id);
  if (match === null) return undefined;
  const position = { ms: Number(match[1]), sequence: Number(match[2]) };
  return Number.isSafeInteger(position.ms) && Number.isSafeInteger(position.sequence) ? position : undefined;
}

/** As {@link parsePosition}, of an id that Redis gave. @throws SseError `INTERNAL` */
export function wellFormed(id: string): Position {
  const position = parsePosition(id);
  if (position === undefined) throw new SseError('INTERNAL', `the log must have ids of its own, got '${id}'`);
  return position;
}

/** Where scripts come from. */
export interface ScriptSource {
  /** Texts in place of those of the package, by name; tests put their own clock in place of `_clock`. */
  readonly replaced?: Readonly<Record<string, string>>;
}

/**
 * Scripts with what they share in front: the clock, then the functions that they use. The result maps each name to the
 * text that Redis runs.
 * @throws SseError `INTERNAL` for an unknown name
 */
export function loadScripts(
  names: readonly string[],
  { replaced = {} }: ScriptSource = {},
): ReadonlyMap<string, string> {
  const textOf = (name: string): string => {
    const lua = replaced[name] ?? LUA[name];
    if (lua !== undefined) return lua;
    throw new SseError('INTERNAL', `lua/${name}.lua must be part of the package; build it again`);
  };
  const clock = textOf('_clock');
  const common = ['_common', '_counters', '_owners'].flatMap(name => textOf(name).split(/^(?=local )/m));
  return new Map(names.map(name => [name, clock + withUsed(common, textOf(name))]));
}

/** A script behind the common functions that it uses, each after those that it uses itself. Redis makes them with each call. */
function withUsed(common: readonly string[], script: string): string {
  return common.reduceRight((text, part) => {
    const [, name] = /^local (?:function )?(\w+)/.exec(part) ?? [];
    return name !== undefined && new RegExp(`\\b${name}\\b`).test(text) ? part + text : text;
  }, script);
}

const COMMAND = /redis\.p?call\('(\w+)'/g;
/** Of scripts, and of the connections that publish and subscribe. */
const ALWAYS = ['#eval', '#evalsha', '+info', '+ping', '&publish', '&subscribe', '+unsubscribe'];
const SHARDED = ['&spublish', '&ssubscribe', '+sunsubscribe', '+cluster|slots', '+cluster|info'];
/** Commands whose first argument is no key. */
const KEYLESS: ReadonlySet<string> = new Set(['time', 'info', 'xinfo']);

/** The permissions that nodes need to run these scripts, publish and subscribe, as `lua/access.lua` writes them. */
export function permissionsOf(
  scripts: Iterable<string>,
  { sharded, numsub }: { readonly sharded: boolean; readonly numsub: string },
): string[] {
  const permissions = new Set([...ALWAYS, ...(sharded ? SHARDED : []), `+pubsub|${numsub.toLowerCase()}`]);
  for (const text of scripts) {
    for (const [, name = ''] of text.matchAll(COMMAND)) {
      const command = name.toLowerCase();
      // A script asks for one subcommand.
      if (command === 'pubsub') continue;
      permissions.add((KEYLESS.has(command) ? '+' : '~') + command);
    }
  }
  return [...permissions];
}
