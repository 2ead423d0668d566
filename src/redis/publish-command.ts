import type { PubSubMode } from './keys.js';

/** What publishes in a script. */
export type PublishCommand = 'PUBLISH' | 'SPUBLISH';

/** The command of a kind of Pub/Sub. */
export function publishCommand(mode: PubSubMode): PublishCommand {
  return mode === 'sharded' ? 'SPUBLISH' : 'PUBLISH';
}
