import type { IncomingHttpHeaders } from 'node:http';
import type { ParsedUrlQuery } from 'node:querystring';
import type { ServiceIdentifier } from 'inversify';

/** The part of a request that guards and endpoint functions may rely on. A Koa context is one. */
export interface SseRequest {
  readonly method: string;
  readonly path: string;
  readonly url: string;
  readonly ip: string;
  readonly headers: IncomingHttpHeaders;
  readonly query: ParsedUrlQuery;
  /** Decoded path parameters. */
  readonly params: Readonly<Record<string, string | undefined>>;
  /** Values that earlier middleware stored for later ones. */
  readonly state: Record<string, unknown>;
}

/**
 * Who a client is, as a guard found out. The connection belongs to the user: the cluster knows it as `<user>/<id>`, and only
 * requests of the same user take it over, read its mailbox and follow its topics and sources.
 */
export interface Admission {
  /** 1 to 256 bytes of text without control characters. */
  readonly user: string;
  /** When the credentials run out. The stream ends then, within a few seconds, with reason `expired`. Default never. */
  readonly expiresAt?: Date;
  /** The topics that the connection may follow; a request for another one gets 403. Default: what the `Authorizer` grants. */
  readonly topics?: readonly string[];
}

/** A connection as an {@link Authorizer} sees it. */
export interface AuthorizedClient {
  readonly connectionId: string;
  /** Absent where no guard named a user. */
  readonly user?: string;
}

/** A topic that a client may follow. */
export interface Grant {
  readonly topic: string;
  /**
   * The client gets no entry from before, by the time of the entry, however its stream resumes. A time in the future grants
   * nothing yet. Default: all that is kept.
   */
  readonly since?: Date;
}

/**
 * Decides what clients may follow, and whether they may stay, beyond what guards allowed. It answers within `guards.timeout`. What
 * it throws refuses the connection, or the call of `subscribe`, as an error of the application.
 */
export interface Authorizer {
  /**
   * Which of these topics the client may follow. Asked when a client connects, also for what `subscribe` added before, and
   * for each `subscribe`. A topic without a grant: 403 where an endpoint names it, `rejected` with `FORBIDDEN` for `subscribe`, and left
   * out where it was added before. Never asked about the topic of a user, mailboxes and sources.
   */
  grant(client: AuthorizedClient, topics: readonly string[]): readonly Grant[] | Promise<readonly Grant[]>;
  /**
   * Whether an open connection may stay. Asked about each every `guards.recheck` milliseconds. False ends the stream with reason
   * `revoked`; an error or no answer changes nothing.
   */
  stillAllowed?(client: AuthorizedClient): boolean | Promise<boolean>;
}

export const Authorizer: ServiceIdentifier<Authorizer> = Symbol.for('distributed-sse/Authorizer');

/** The connections that lose their rights: all of a user, or one. With `topics` they lose only these topics. */
export type RevocationSelector =
  | { readonly user: string; readonly topics?: readonly string[]; readonly connectionId?: undefined }
  | { readonly connectionId: string; readonly user?: undefined; readonly topics?: undefined };

/** Settings of a revocation. */
export interface RevocationOptions {
  /** The reason that the clients are given. Default `revoked`. */
  readonly reason?: string;
  /** Cuts the sockets: nothing more is sent, not even what waits and the last event. Default false. */
  readonly cut?: boolean;
  /** Milliseconds for which nodes that did not answer find the revocation when they are back. At most a week. Default 86400000, a day. */
  readonly ttl?: number;
}

/** A revocation, as nodes pass it on. */
export interface Revocation {
  /** Names it, 1 to 32 characters: what comes again concerns no further client. */
  readonly id: string;
  /** A connection id; or, for all connections of a user, the beginning of their ids, which ends with its only `/`. */
  readonly target: string;
  /** The topics that the connections lose; none: the connections end. */
  readonly topics: readonly string[];
  readonly reason: string;
  readonly cut: boolean;
  /** Milliseconds for which it is kept. */
  readonly ttl: number;
  /** Milliseconds since it was made. Connections whose clients were admitted later are not concerned. */
  readonly age: number;
}

/** The answer of a guard. */
export type Verdict = boolean | number | Admission;

/**
 * Decides whether a request may become a stream, before anything is registered. The container builds it.
 *
 * `true` and an {@link Admission} let the request pass. `false` answers 403, a number from 400 to 599 is the status to
 * answer; anything else, and anything thrown, is the application's own error. Where several guards answer with an admission,
 * all must name the same user; the connection ends at the earliest time and may follow the topics that all of them name. The
 * guards of a request have `guards.timeout` together.
 */
export interface SseGuard {
  canConnect(request: SseRequest): Verdict | Promise<Verdict>;
}

/** What may refuse a registration. */
export interface RegistrationLimits {
  /** What it counts for, at most two. Asked neither of a takeover nor with `openedAt`, which count all the same. */
  readonly limits?: readonly SharedLimit[] | undefined;
  /**
   * Live connections that the cluster may have. Asked only where its id has no route. Exact unless the cluster keeps its routes
   * in several places; then as of the last heartbeat in the others.
   */
  readonly maxConnections?: number | undefined;
}

/**
 * A limit of all connections of the cluster that have one name in common, such as those of a user, or from an address. A
 * connection counts until it is unregistered, or the lease of its node is over.
 */
export interface SharedLimit {
  /** 1 to 800 bytes. The beginning of the ids of a user's connections for a user: these are kept in the place of their routes. */
  readonly name: string;
  /** Connections at one time. Default: no limit. */
  readonly most?: number;
  /** Registrations within a minute, about. Default: no limit. */
  readonly perMinute?: number;
}
