import { isSpanContextValid, trace } from '@opentelemetry/api';
import type { LogFields, Logger } from '../contracts/logger.js';

/** The least severe level that is printed. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

/**
 * Writes lines to the console, by default warnings and errors. A line that is written inside a span carries its ids, as
 * `trace_id` and `span_id`.
 */
export class ConsoleLogger implements Logger {
  constructor(private readonly level: LogLevel = 'warn') {}

  debug(message: string, fields?: LogFields): void {
    this.#write('debug', message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.#write('info', message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.#write('warn', message, fields);
  }

  error(message: string, fields?: LogFields): void {
    this.#write('error', message, fields);
  }

  #write(level: LogLevel, message: string, fields: LogFields | undefined): void {
    if (LEVELS.indexOf(level) < LEVELS.indexOf(this.level)) return;
    const all = { ...fields, ...spanIds() };
    if (Object.keys(all).length === 0) console[level](`[distributed-sse] ${message}`);
    else console[level](`[distributed-sse] ${message}`, all);
  }
}

function spanIds(): LogFields {
  const spanContext = trace.getActiveSpan()?.spanContext();
  if (spanContext === undefined || !isSpanContextValid(spanContext)) return {};
  return { trace_id: spanContext.traceId, span_id: spanContext.spanId };
}
