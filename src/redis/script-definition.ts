import { ReplyReader } from './reply-reader.js';

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
