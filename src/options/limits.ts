import { bytes, count, countOrOff, milliseconds, millisecondsOrOff, setting, wordOrOrigins } from './kinds.js';

/** The settings `limits.*`, a part of the table of settings. */
export const LIMITS = {
  /**
   * Whether a page of another site may open a stream: such a request carries the cookies of the user. `refuse` answers 403,
   * `allow` lets it pass, a list names the origins that may, as `['https://app.example.org']`; in the environment
   * `https://a.example,https://b.example`. Default `refuse`.
   */
  crossSite: setting(wordOrOrigins('refuse', 'allow'), 'refuse'),
  /**
   * Connections of all nodes together; `false`: no limit. Exact on a single Redis. A Redis Cluster counts a part of them as of the
   * last heartbeat. Connections that open without the cluster count when they are adopted. Default `false`.
   */
  maxClusterConnections: setting(countOrOff, false),
  /**
   * Connections that one user may have on all nodes, as guards name users; `false`: no limit. A takeover of an own connection
   * is always allowed. While the cluster cannot be reached a node counts its own. Default `false`.
   */
  maxConnectionsPerUser: setting(countOrOff, false),
  /**
   * Connections from one address to all nodes, and requests to one node whose guards are under way; `false`: no limit. The
   * address is `ctx.ip`; the first 64 bits of an IPv6 address count as one. Behind a proxy it needs `app.proxy` and
   * `app.maxIpsCount`. Many users may share an address. Default `false`.
   */
  maxConnectionsPerAddress: setting(countOrOff, false),
  /**
   * Streams on one HTTP/2 connection, requests that wait for their guards included; `false`: no limit. Not asked where
   * `app.proxy` is true, since a proxy puts the requests of many clients on one connection. Default 100.
   */
  maxConnectionsPerHttp2: setting(countOrOff, 100),
  /**
   * Connects within a minute, about, of one user, or of one address where no guard names a user, to all nodes; `false`: no
   * limit. Further ones are sent away for 30 s and more. Default `false`.
   */
  maxConnectsPerMinute: setting(countOrOff, false),
  /**
   * Bytes of missed events within a minute that this node gives to one user, or to one address where no guard names a user;
   * `false`: no limit. A replay that has begun goes on; the next client that resumes is sent away for 30 s and more. Default
   * `false`.
   */
  maxReplayBytesPerMinute: setting(countOrOff, false),
  /** Bytes of one event's data; not more than `sendBuffer.maxTotalBytes`. Default 1048576 (1 MiB). */
  maxEventBytes: setting(bytes, 1_048_576),
  /** Topics of one connection; 0: broadcasts and direct sends only. Default 128. */
  maxTopicsPerConnection: setting(count(0), 128),
};

/** The settings `guards.*`. */
export const GUARDS = {
  /**
   * Milliseconds in which the guards of a request must have answered; then the client is sent away for a while, as in an
   * outage. Default 10000.
   */
  timeout: setting(milliseconds, 10_000),
  /** Milliseconds between two questions to the `Authorizer` whether a client may stay; `false`: none. Default `false`. */
  recheck: setting(millisecondsOrOff, false),
  /** Requests whose guards may be under way on this node; further ones are sent away for a while. Default 1000. */
  maxPending: setting(count(1), 1_000),
};
