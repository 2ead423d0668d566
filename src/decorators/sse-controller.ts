import { setController, type GuardOptions } from './endpoint-metadata.js';

/**
 * Optional on a controller: puts `prefix` before the paths of its endpoints, and `guards` before theirs.
 *
 * Writes one metadata record and nothing else.
 */
export function SseController(prefix: string, options: GuardOptions = {}) {
  return (controller: abstract new (...args: never[]) => unknown): void => {
    setController(controller, { prefix, ...options });
  };
}
