/** Data type of each event by its name, when the application gives none. */
export type EventMap = Record<string, unknown>;

/** Events of the library itself, which every stream may bring. */
export interface LibraryEvents {
  /** First event of each connection. */
  readonly connected: {
    readonly connectionId: string;
    readonly nodeId: string;
    /** Allows this client to confirm; only where it asked for that. */
    readonly confirm?: string;
  };
  /** Entries are missing; {@link Gap} says which. */
  readonly 'sse.reset': Gap;
  /** Last event of a connection that the server ended. */
  readonly 'sse.closed': { readonly reason: string };
}

/** Every event of a stream: the application's and the library's. `Events` may be a type or an interface. */
export type AllEvents<Events extends object> = Omit<Events, keyof LibraryEvents> & LibraryEvents;

/** Names of the events of a stream. */
export type EventName<Events extends object> = keyof AllEvents<Events> & string;

/** One event as it arrived. */
export interface ReceivedEvent<Name extends string = string, Data = unknown> {
  readonly event: Name;
  /** JSON is parsed; text that is no JSON stays text. See {@link ConnectOptions.parse}. */
  readonly data: Data;
  /** The last id of the stream after this event; `undefined` until the server has sent one. */
  readonly lastEventId: string | undefined;
}

/** Any event of a stream; `event` tells the data types apart. */
export type AnyEvent<Events extends object> = {
  [Name in EventName<Events>]: ReceivedEvent<Name, AllEvents<Events>[Name]>;
}[EventName<Events>];

/** Entries that this client did not get and will not get; the application has to load their topics anew. */
export interface Gap {
  /**
   * `GAP` they were trimmed, `EPOCH` the log was lost, `AHEAD` the client is ahead of the log, `OVERFLOW` the client was too
   * slow, `PRODUCER_LOST` no node runs the resumable source any more.
   */
  readonly reason: string;
  /** Topics with missing entries; `*` stands for events that are addressed to every connection. */
  readonly topics: readonly string[];
  /** The id at which the stream goes on. */
  readonly resumedFrom: string;
}

/**
 * What a stream does at present.
 *
 * | kind | meaning |
 * |---|---|
 * | `connecting` | a request is under way |
 * | `open` | the server has answered with an event |
 * | `waiting` | the stream comes back at `retryAt` |
 * | `paused` | the page is hidden (`pauseHidden`) or in the back/forward cache; the stream comes back with the page |
 * | `closed` | for good; `reason` says why |
 */
export type StreamState =
  | {
      readonly kind: 'connecting';
      /** Number of failed attempts before this one. */
      readonly attempt: number;
    }
  | { readonly kind: 'open'; readonly connectionId: string | undefined; readonly nodeId: string | undefined }
  | (StreamEnd & {
      readonly kind: 'waiting';
      /** When the next attempt begins, in milliseconds of `Date.now()`. */
      readonly retryAt: number;
    })
  | { readonly kind: 'paused'; readonly reason: 'hidden' | 'cached' }
  | ClosedState;

/** State of a stream that has ended for good. */
export type ClosedState = StreamEnd & { readonly kind: 'closed' };

/** Why a connection, or the whole stream, has ended. */
export interface StreamEnd {
  /**
   * The reason in the server's `sse.closed`; or `refused` (a status, in `status`), `failed` (the network), `unusable` (options that
   * the transport cannot use; for good), `silent` (no byte
   * for {@link ConnectOptions.silence}), `offline`, `ended` (without a last event), `client` (`close()`), `aborted` (the signal).
   */
  readonly reason: string;
  /** Status of the answer that was no stream. */
  readonly status?: number;
  /** Text for a person, where there is more to say. */
  readonly message?: string;
}

// `Uint8Array<ArrayBuffer>`, which TypeScript before 5.7 does not know.
type Bytes = ReturnType<TextEncoder['encode']>;

/** Body of a POST stream. It is sent anew with each attempt. */
export type RequestBody = string | Bytes | URLSearchParams | FormData | Blob;

/** Settings of {@link connect}. Times are milliseconds. */
export interface ConnectOptions {
  /**
   * Request headers. A function is called before each attempt, so that it can give a token that is valid now; after 401,
   * `revoked` and `expired` the stream comes back only with such a function.
   */
  readonly headers?: RequestHeaders | (() => RequestHeaders | Promise<RequestHeaders>);
  /** Default `GET`, and `POST` with a body. */
  readonly method?: string;
  /** Body of the request, or a function that gives one for each attempt. */
  readonly body?: RequestBody | (() => RequestBody | Promise<RequestBody>);
  /** Whether cookies are sent. Default `same-origin`, as with `fetch`. */
  readonly credentials?: 'omit' | 'same-origin' | 'include';
  /** Aborting it closes the stream with reason `aborted`. */
  readonly signal?: AbortSignal;
  /**
   * The id after which the stream begins, such as `position()` of the server, written into the page it rendered. An id kept by
   * `resume` is older than a page that has been loaded since, so this one wins.
   */
  readonly lastEventId?: string;
  /** `session` keeps the last id in `sessionStorage`, by URL, so that a reload goes on where the page was. */
  readonly resume?: 'session';
  /**
   * One connection for all tabs with the same URL, through Web Locks and BroadcastChannel. A string sets streams of one URL
   * apart, such as the user's name. Without these interfaces (an insecure page, Node 20) each tab has its own connection.
   */
  readonly share?: boolean | string;
  /** First pause before a reconnect, until the server sends `retry:`. Default 1000. */
  readonly delay?: number;
  /** Longest pause that grows from failed attempts; the server may ask for more. Default 30000. */
  readonly maxDelay?: number;
  /** After so long without a byte the connection counts as broken. Default 75000, more than two heartbeats. `false`: never. */
  readonly silence?: number | false;
  /** Ends the connection of a page that is hidden for so long; it comes back with the page. Default `false`: never. */
  readonly pauseHidden?: number | false;
  /** Reasons of the application's own at which the stream does not come back. Default none. */
  readonly stopOn?: readonly string[];
  /** Turns the text of an event into its data. Default: JSON, or the text itself if it is no JSON. */
  readonly parse?: (text: string, event: string) => unknown;
  /** Largest event in characters; a larger one ends the connection. Default 16 Mi. */
  readonly maxEventSize?: number;
  /** Called when a listener throws. Default: the error is reported as an uncaught one. */
  readonly onError?: (error: unknown) => void;
  /**
   * `confirm`, to be imported from this package: confirms direct sends with `ack: 'client'` once their listeners have returned,
   * and their promises have resolved. The server must have `confirmation.enabled`. Default: nothing is confirmed.
   */
  readonly confirm?: Transport;
  /** How the stream is read. Default `fetchTransport`. Not together with `confirm`, which uses `fetch`. */
  readonly transport?: Transport;
  /** A `fetch` of the application's own. Default the global one. */
  readonly fetch?: (url: string, init: FetchInit) => Promise<Response>;
}

/** Request headers by name. */
export type RequestHeaders = Readonly<Record<string, string>>;

/** The part of `RequestInit` that the client sets. */
export interface FetchInit {
  readonly method: string;
  readonly headers: RequestHeaders;
  readonly body?: RequestBody;
  readonly credentials: 'omit' | 'same-origin' | 'include';
  readonly cache: 'no-store';
  readonly signal: AbortSignal;
  /** Of confirmations: the request outlives the page. */
  readonly keepalive?: boolean;
}

/** Reads one connection. An application may write its own; {@link fetchTransport} and {@link eventSourceTransport} are two. */
export type Transport = (attempt: Attempt) => Promise<TransportEnd>;

/** One attempt to read the stream. */
export interface Attempt {
  readonly url: string;
  readonly options: ConnectOptions;
  /** Where to resume. */
  readonly lastEventId: string | undefined;
  /** Aborts when the attempt is over. Nothing may be reported afterwards. */
  readonly signal: AbortSignal;
  /** Names that the application listens to. */
  readonly names: ReadonlySet<string>;
  /** To be called with each block of the event stream. */
  onBlock(block: Block): Handled;
  /** To be called with each `retry:`. */
  onRetry(ms: number): void;
  /** To be called whenever something arrives, comments included. */
  onAlive(): void;
}

/** What the listeners of an event returned; `undefined` when it was not given to them, or one of them threw. */
export type Handled = readonly unknown[] | undefined;

/** One block of an event stream. */
export interface Block {
  /** `message` when the block names none. */
  readonly event: string;
  /** `undefined` for a block that only moves the last id. */
  readonly data: string | undefined;
  /** `undefined` leaves the last id as it is. */
  readonly id: string | undefined;
  /** The message id of a send whose sender waits for a confirmation. */
  readonly confirm?: string | undefined;
}

/** How one connection ended; a transport that rejects has failed. */
export type TransportEnd =
  | { readonly kind: 'ended' }
  | {
      readonly kind: 'refused';
      readonly status: number;
      /** The header `Retry-After` as milliseconds from now. */
      readonly retryAfter: number;
    };
