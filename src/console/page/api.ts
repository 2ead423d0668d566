import { connect, type SseStream } from '../../client/index.js';
import type {
  About,
  ActionName,
  Actions,
  ActivityAnswer,
  ConnectionsAnswer,
  Failure,
  LogAnswer,
  SourcesAnswer,
  TopicsAnswer,
} from '../contract.js';
import { messageOf } from './format.js';

/** What each resource answers. */
interface Resources {
  readonly about: About;
  readonly activity: ActivityAnswer;
  readonly connections: ConnectionsAnswer;
  readonly log: LogAnswer;
  readonly sources: SourcesAnswer;
  readonly topics: TopicsAnswer;
}

/** Values of a query; `undefined` and an empty text leave a parameter out. */
export type Query = Readonly<Record<string, string | number | undefined>>;

const LONGEST_MS = 15_000;
/** After so long in the background the page lets go of its streams, and the nodes stop to sample for it. */
export const HIDDEN_MS = 10_000;

/** An answer of the API that is no success. */
class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** Reads a resource once. @throws ApiError when the answer is not 2xx */
export async function read<Name extends keyof Resources>(resource: Name, query: Query = {}): Promise<Resources[Name]> {
  return request<Resources[Name]>(urlOf(resource, query), {});
}

/** Follows a resource: `show` gets each answer, the first one at once. */
export function follow<Name extends keyof Resources>(
  resource: Name,
  query: Query,
  show: (answer: Resources[Name]) => void,
): SseStream {
  const stream = connect(urlOf(resource, query), { pauseHidden: HIDDEN_MS });
  // The contract types the event of each resource.
  stream.on(resource, answer => show(answer as Resources[Name]));
  return stream;
}

/** What the page may do, and the token with which it does. */
export class Permissions {
  private constructor(private current: About) {}

  static async ask(): Promise<Permissions> {
    return new Permissions(await read('about'));
  }

  get about(): About {
    return this.current;
  }

  /** Whether the guard lets this visitor do something. */
  allows(action: ActionName): boolean {
    return this.current.actions.includes(action);
  }

  /** Does something. @throws ApiError when it is refused */
  async act<Name extends ActionName>(name: Name, body: Actions[Name]['body']): Promise<Actions[Name]['answer']> {
    try {
      return await this.#post(name, body);
    } catch (error) {
      // The cookie of the token may be gone.
      if (!(error instanceof ApiError) || error.status !== 403) throw error;
      this.current = await read('about');
      return await this.#post(name, body);
    }
  }

  async #post<Name extends ActionName>(name: Name, body: Actions[Name]['body']): Promise<Actions[Name]['answer']> {
    return request<Actions[Name]['answer']>(urlOf(name, {}), {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-console-token': this.current.token },
      body: JSON.stringify(body),
    });
  }
}

export function urlOf(resource: string, query: Query): string {
  const url = new URL(`api/${resource}`, document.baseURI);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') url.searchParams.set(name, String(value));
  }
  return url.href;
}

async function request<T>(url: string, init: RequestInit): Promise<T> {
  let response: Response;
  try {
    response = await fetch(url, { cache: 'no-store', signal: AbortSignal.timeout(LONGEST_MS), ...init });
  } catch (error) {
    throw new ApiError(0, 'NO_ANSWER', `The node did not answer: ${messageOf(error)}.`);
  }
  const body: unknown = await response.json().catch(() => undefined);
  // Every answer that is not 2xx is a failure of the contract, unless something else stands in front of the node.
  if (response.ok) return body as T;
  const failure = body as Partial<Failure> | undefined;
  const { code = 'REFUSED', message = response.statusText } = failure?.error ?? {};
  throw new ApiError(response.status, code, message);
}
