import type { ConnectionSink } from '../contracts/connection-sink.js';

/** The sink of a request that may yet be answered otherwise. */
export interface RequestSink extends ConnectionSink {
  /**
   * Takes {@link attach} back, for a stream that did not open: the socket may serve many more requests, so nothing of this
   * one may stay on it.
   */
  detach(): void;
}
