/** Compiled and never run: each `@ts-expect-error` fails the build when the compiler lets the line pass. */
import type { ResolvedSseOptions, SseOptions } from '../../src/index.js';

type Same<A, B> = [A, B] extends [B, A] ? true : false;
type Connection = ResolvedSseOptions['connection'];

export const values: [
  heartbeat: Same<Connection['heartbeat'], number | false>,
  onDuplicate: Same<Connection['onDuplicate'], 'takeover' | 'reject'>,
  detach: Same<Connection['detach'], 'auto' | false>,
  enabled: Same<ResolvedSseOptions['redis']['enabled'], boolean>,
  url: Same<ResolvedSseOptions['redis']['url'], string | undefined>,
  client: Same<ResolvedSseOptions['redis']['client'], object | undefined>,
  eventNames: Same<ResolvedSseOptions['telemetry']['eventNames'], readonly string[]>,
  queue: Same<ResolvedSseOptions['resilience']['send']['queue'], number>,
  retries: Same<ResolvedSseOptions['resilience']['send']['retries'], number>,
] = [true, true, true, true, true, true, true, true, true];

export const accepted: readonly SseOptions[] = [
  {},
  { connection: undefined, resilience: { send: undefined } },
  { connection: { heartbeat: false, maxAge: undefined } },
  { redis: { client: () => undefined } },
  { history: { topics: { a: false, b: { ttl: 1 }, c: undefined, d: { ttl: undefined } } } },
];

// @ts-expect-error no such group
export const group: SseOptions = { conection: {} };
// @ts-expect-error no such setting
export const setting: SseOptions = { connection: { maxconnections: 1 } };
// @ts-expect-error a word that the setting does not take
export const word: SseOptions = { sendBuffer: { policy: 'drop' } };
// @ts-expect-error a client is an object
export const client: SseOptions = { redis: { client: 'redis://host' } };
// @ts-expect-error the repetitions are computed from the retry settings
export const retries: SseOptions = { resilience: { send: { retries: 1 } } };
// @ts-expect-error resolved settings do not change
export const assign = (options: ResolvedSseOptions) => (options.node.id = 'a');
