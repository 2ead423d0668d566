import { readFileSync } from 'node:fs';
import { SseError } from '../../../errors.js';

/** What a script can be given. */
export type ScriptValue = string | number | Buffer;

/** A script of `lua/` as TypeScript sees it: how a request becomes KEYS and ARGV, and its reply a typed value. */
export interface ScriptDefinition<Request, Reply> {
  /** Its file in `lua/`, without `.lua`. */
  readonly name: string;
  /** Names of KEYS, in order, as in the header; those of {@link restKeys} follow. */
  readonly keys: readonly string[];
  /** Names of ARGV, in order, as in the header; those of {@link restArgs} follow. */
  readonly args: readonly string[];
  /** First words of its replies. */
  readonly statuses: readonly string[];
  /** Names of what is repeated behind `keys`. */
  readonly restKeys: readonly string[];
  /** Names of what is repeated behind `args`. */
  readonly restArgs: readonly string[];
  /** Whether the reply carries bytes that are not text. */
  readonly binary: boolean;
  /** Whether it must be told which Redis it runs on. */
  readonly usesRunId: boolean;
  /** Whether sending this request again after a failure without an answer has no further effect. */
  repeatable(request: Request): boolean;
  keysOf(request: Request): string[];
  argsOf(request: Request, runId: string): ScriptValue[];
  /** @throws SseError `INTERNAL` when the reply is none of the script's. */
  parse(reply: unknown): Reply;
}

/** What an author writes: values by name, so that their order cannot be wrong. */
interface Outline<K extends string, A extends string, S extends string, Request, Reply> {
  readonly name: string;
  readonly keys: readonly K[];
  readonly args: readonly A[];
  readonly statuses: readonly S[];
  readonly restKeys?: readonly string[];
  readonly restArgs?: readonly string[];
  readonly binary?: boolean;
  readonly usesRunId?: boolean;
  readonly repeatable?: (request: Request) => boolean;
  readonly keyValues: (request: Request) => Readonly<Record<K, string>>;
  readonly argValues: (request: Request, runId: string) => Readonly<Record<A, ScriptValue>>;
  readonly restKeyValues?: (request: Request) => string[];
  readonly restArgValues?: (request: Request) => ScriptValue[];
  readonly read: (status: S, reply: ReplyReader) => Reply;
}

/** Completes an outline; scripts are repeatable unless it says otherwise. */
export function defineScript<
  const K extends string,
  const A extends string,
  const S extends string,
  Request,
  Reply,
>(outline: Outline<K, A, S, Request, Reply>): ScriptDefinition<Request, Reply> {
  const { name, keys, args, statuses } = outline;
  return {
    name,
    keys,
    args,
    statuses,
    restKeys: outline.restKeys ?? [],
    restArgs: outline.restArgs ?? [],
    binary: outline.binary ?? false,
    usesRunId: outline.usesRunId ?? false,
    repeatable: outline.repeatable ?? (() => true),
    keysOf: request => {
      const values = outline.keyValues(request);
      return [...keys.map(key => values[key]), ...(outline.restKeyValues?.(request) ?? [])];
    },
    argsOf: (request, runId) => {
      const values = outline.argValues(request, runId);
      return [...args.map(arg => values[arg]), ...(outline.restArgValues?.(request) ?? [])];
    },
    parse: reply => {
      const reader = new ReplyReader(name, reply);
      return outline.read(reader.status(statuses), reader);
    },
  };
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

  get length(): number {
    return this.#values.length;
  }

  /** The first value, which must be one of these words. */
  status<S extends string>(statuses: readonly S[]): S {
    const text = this.text(0);
    const status = statuses.find(known => known === text);
    if (status === undefined) throw this.#unexpected(`one of ${statuses.join(', ')}`, text);
    return status;
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
    if (!Number.isSafeInteger(number))
      throw this.#unexpected(`a whole number at ${position}`, value);
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

  /** What follows `from`, in groups of `size` values; `read` gets the position of each group. */
  groups<T>(from: number, size: number, read: (position: number) => T): T[] {
    if (this.length < from || (this.length - from) % size !== 0) {
      throw this.#unexpected(`groups of ${size} from ${from}`, `${this.length} values`);
    }
    return Array.from({ length: (this.length - from) / size }, (_, group) =>
      read(from + group * size),
    );
  }

  #unexpected(expected: string, received: unknown): SseError {
    const got = typeof received === 'string' ? `'${received.slice(0, 80)}'` : typeof received;
    return new SseError(
      'INTERNAL',
      `${this.script}.lua must answer ${expected}, got ${got}; all nodes must run the same version`,
    );
  }
}

/** The folder `lua` of the package, as seen from `dist/src/cluster/redis/scripts`. */
export const LUA_FOLDER = new URL('../../../../../lua/', import.meta.url);

const PRELUDE = ['_clock', '_common'];

/** Where scripts come from. */
export interface ScriptSource {
  readonly folder?: URL;
  /** Text in place of a file, by its name without `.lua`; tests put their own clock in place of `_clock`. */
  readonly replaced?: Readonly<Record<string, string>>;
}

/**
 * Reads scripts and puts what they share in front: clock, then common functions. The result maps each name to the text
 * that Redis runs. Synchronous; to be called once at start.
 * @throws SseError `INTERNAL` when a file cannot be read: the package is incomplete.
 */
export function loadScripts(
  names: readonly string[],
  { folder = LUA_FOLDER, replaced = {} }: ScriptSource = {},
): ReadonlyMap<string, string> {
  const read = (name: string): string => {
    try {
      return replaced[name] ?? readFileSync(new URL(`${name}.lua`, folder), 'utf8');
    } catch (cause) {
      throw new SseError('INTERNAL', `lua/${name}.lua must be part of the package; reinstall it`, {
        cause,
      });
    }
  };
  const prelude = PRELUDE.map(read).join('');
  return new Map(names.map(name => [name, prelude + read(name)]));
}
