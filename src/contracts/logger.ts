import type { ServiceIdentifier } from 'inversify';

/** Facts that belong to a log line. Values are plain data. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Receives background failures and notable changes. No method may throw or block. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

export const Logger: ServiceIdentifier<Logger> = Symbol.for('distributed-sse/Logger');
