import type { ServiceIdentifier } from 'inversify';
import type { OperationKind } from '../contracts/policy.js';
import type {
  AtomicOperationSettings,
  ConsistencySettings,
  ControlSettings,
  NodeSettings,
  RedisSettings,
  ResolvedOperationLimits,
  ResilienceSettings,
  ScriptSettings,
} from './cluster-settings.js';
import type {
  ConnectionSettings,
  HistorySettings,
  LimitsSettings,
  MailboxSettings,
  SendBufferSettings,
  ReconnectSettings,
  SendSettings,
  SourceSettings,
} from './connection-settings.js';
import type { CleanupSettings, ReliabilitySettings } from './maintenance-settings.js';
import type { TelemetrySettings } from './telemetry-settings.js';

/** Every setting with its value in force. Frozen throughout, except `redis.client`. */
export interface ResolvedSseOptions {
  /** What one client may do and how long the node holds on to it. */
  readonly connection: ConnectionSettings;
  /** The Redis that nodes meet in. */
  readonly redis: RedisSettings;
  /** Retries of scripts. */
  readonly script: ScriptSettings;
  /** Removal of connections that nobody uses. */
  readonly cleanup: CleanupSettings;
  /** Which registry operations are one script. */
  readonly atomicOperation: AtomicOperationSettings;
  /** Comparison of what this node holds with what the cluster believes. */
  readonly consistency: ConsistencySettings;
  /** What is done so that nothing is left behind. */
  readonly reliability: ReliabilitySettings;
  /** This process as a member of the cluster. */
  readonly node: NodeSettings;
  /** Bytes waiting for slow clients. */
  readonly sendBuffer: SendBufferSettings;
  /** What is kept so that a client that comes back misses nothing. */
  readonly history: HistorySettings;
  /** Direct sends that wait for their client. */
  readonly mailbox: MailboxSettings;
  /** Resumable sources. */
  readonly source: SourceSettings;
  /** Sends to a connection of any node. */
  readonly send: SendSettings;
  /** Bounds and repetitions per kind of call to the cluster. */
  readonly resilience: Readonly<Record<OperationKind, ResolvedOperationLimits>>;
  /** Sizes that one event or connection may not exceed. */
  readonly limits: LimitsSettings;
  /** How clients that are sent away come back. */
  readonly reconnect: ReconnectSettings;
  /** What the node tells OpenTelemetry. */
  readonly telemetry: TelemetrySettings;
  /**
   * New connections while the cluster cannot be reached: served by this node alone, or 503. Default
   * `degrade`.
   */
  readonly onUnavailable: 'degrade' | 'reject';
  /** Commands between nodes. */
  readonly control: ControlSettings;
}

export const ResolvedSseOptions: ServiceIdentifier<ResolvedSseOptions> = Symbol.for(
  'distributed-sse/ResolvedSseOptions',
);

/**
 * All of `T` optional at every depth; an explicit `undefined` means the default too. Keeps the doc
 * comments.
 */
type SettingsInput<T> = {
  readonly [K in keyof T]?: InputOf<T[K]> | undefined;
};

/** Lists are given whole. */
type InputOf<V> = V extends readonly unknown[] ? V : V extends object ? SettingsInput<V> : V;

/**
 * What an application may set, everything optional. `undefined` is the default, `false` switches
 * off where a setting takes it. The environment overrules it: `SSE_CONNECTION_MAX_CONNECTIONS=5000`
 * is `connection.maxConnections`.
 */
export type SseOptions = SettingsInput<Settings>;

/** The settings without what is computed from them. */
type Settings = {
  [K in keyof ResolvedSseOptions]: K extends 'resilience'
    ? ResilienceSettings
    : ResolvedSseOptions[K];
};
