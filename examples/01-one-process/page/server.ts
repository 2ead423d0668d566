import { messageOf } from '../../../src/console/page/format.js';

/** What the server answered. Status 0: no answer came. */
export interface Answer {
  readonly ok: boolean;
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** What the page asks its node once. */
export interface Facts {
  readonly nodeId: string;
  readonly coordinator: string;
  readonly console: string | null;
}

/** The nodes that `npm run demo:cluster` started; none where one process serves the page. */
export interface ClusterFacts {
  readonly nodes: readonly { readonly id: string; readonly running: boolean }[];
  /** `null`: the Redis is not this program's own, or there is none. */
  readonly redis: 'running' | 'stopped' | null;
}

const LONGEST_MS = 15_000;

/** Sends a request of the demo's HTTP contract. Never rejects: no answer is an answer with status 0. */
export async function ask(method: string, path: string, body?: string): Promise<Answer> {
  try {
    const response = await fetch(path, {
      method,
      cache: 'no-store',
      signal: AbortSignal.timeout(LONGEST_MS),
      // A page of another origin cannot set this header without asking first.
      headers: { 'x-tour': '1', ...(body === undefined ? {} : { 'content-type': 'text/plain' }) },
      ...(body === undefined ? {} : { body }),
    });
    return { ok: response.ok, status: response.status, body: parse(await response.text()) };
  } catch (error) {
    const message = messageOf(error);
    return { ok: false, status: 0, body: { error: { code: 'NO_ANSWER', message } } };
  }
}

/** The object of a JSON text, else an empty one. */
function parse(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : {};
  } catch {
    return {};
  }
}

/** Whether a value is an object whose properties can be read. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** Code and status of an answer that is an error, for a person. */
export function errorText({ status, body }: Answer): string {
  const { error } = body;
  const code = isRecord(error) ? String(error['code']) : '';
  return status === 0 ? 'the server did not answer' : `${status} ${code}`;
}
