import type { ServiceIdentifier } from 'inversify';
import type { OperationKind } from '../contracts/policy.js';
import type { Setting } from './kinds.js';
import type { SETTINGS } from './settings.js';

/** The values of a table of settings. A mapped type, so that the comments of the table stay with the properties. */
type ValuesOf<Table> =
  Table extends Setting<infer Value> ? Value : { readonly [Key in keyof Table]: ValuesOf<Table[Key]> };

/** Every setting with a value. */
export type Settings = ValuesOf<typeof SETTINGS>;

/** The bounds of one kind of call, with the repetitions that the retry settings of other groups ask for. */
export type OperationLimits = Settings['resilience'][OperationKind] & {
  /** Further tries of a call that failed with a retryable error; 0: none. */
  readonly retries: number;
  /** Milliseconds between two tries, give or take half. */
  readonly retryPause: number;
};

/** Every setting with its value in force. Frozen throughout, except `redis.client`. */
export interface ResolvedSseOptions extends Omit<Settings, 'resilience'> {
  /**
   * Bounds and repetitions per kind of call to the cluster. The repetitions are those of `script.retry*` for `send` and
   * `publish`, of `atomicOperation.luaScriptRetry*` for `register`, and of `reliability.cleanupRetry*` for the rest.
   */
  readonly resilience: Readonly<Record<OperationKind, OperationLimits>>;
}

export const ResolvedSseOptions: ServiceIdentifier<ResolvedSseOptions> = Symbol.for(
  'distributed-sse/ResolvedSseOptions',
);

/** See {@link SETTINGS}. */
export type ConnectionSettings = ResolvedSseOptions['connection'];
/** See {@link SETTINGS}. */
export type ConsistencySettings = ResolvedSseOptions['consistency'];
/** See {@link SETTINGS}. */
export type ReliabilitySettings = ResolvedSseOptions['reliability'];
/** See {@link SETTINGS}. */
export type SourceSettings = ResolvedSseOptions['source'];

/** All of `Values` optional at every depth; an explicit `undefined` means the default too. Keeps the comments. */
type InputOf<Values> = {
  readonly [Key in keyof Values]?: InputValue<Values[Key]> | undefined;
};

/** Lists and functions are given whole, and so is `redis.client`, which is any object. */
type InputValue<Value> = Value extends readonly unknown[] | ((...args: never[]) => unknown)
  ? Value
  : Value extends object
    ? object extends Value
      ? Value
      : InputOf<Value>
    : Value;

/**
 * What an application may set, everything optional. `undefined` is the default, `false` switches off where a setting
 * takes it. The environment overrules it: `SSE_CONNECTION_MAX_CONNECTIONS=5000` is `connection.maxConnections`.
 */
export type SseOptions = InputOf<Settings>;

/** Takeovers of one id by page loads that succeed within `connection.takeoverWindow`. */
export const PAGE_LOAD_TAKEOVERS = 19;
