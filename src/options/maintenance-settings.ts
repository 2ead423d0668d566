/** Removal of connections that nobody uses. */
export interface CleanupSettings {
  /** Whether it is done. Default true. */
  readonly enabled: boolean;
  /** Milliseconds between two rounds. Default 60000. */
  readonly interval: number;
  /**
   * Milliseconds since the last byte the socket accepted after which a connection is removed.
   * Default 3600000.
   */
  readonly connectionTtl: number;
}

/** What is done so that nothing is left behind. */
export interface ReliabilitySettings {
  /**
   * Whether failed cleanups, and other calls of kind `maintenance`, are repeated, and leaks looked for if
   * `resourceLeakDetection` says so too. The drain does not depend on it. Default true.
   */
  readonly enabled: boolean;
  /** Further tries of a failed cleanup, or another call of kind `maintenance`; 0: none. Default 3. */
  readonly cleanupRetryCount: number;
  /** Milliseconds between two tries, give or take half. Default 1000. */
  readonly cleanupRetryInterval: number;
  /** Whether the end of the service is a drain; false: connections are cut. Default true. */
  readonly gracefulShutdown: boolean;
  /** Milliseconds until a drain cuts what is left. Default 30000. */
  readonly gracefulShutdownTimeout: number;
  /** Whether leaks are looked for; what looks like one twice in a row is one, and let go. Default true. */
  readonly resourceLeakDetection: boolean;
  /** Milliseconds between two looks. Default 300000. */
  readonly leakDetectionInterval: number;
}
