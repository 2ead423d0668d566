import type { ClientConnection } from '../connection/client-connection.js';
import { isEnded } from '../connection/end.js';
import type { Backlog } from '../contracts/cluster.js';
import type { Cursor } from '../contracts/events.js';
import { Periodic } from '../time.js';
import type { SseNode } from './node.js';
import { connectedFrame } from './replay.js';

const LOOK_MS = 500;
/** Milliseconds after which a failed adoption is tried again; doubled with each failure. */
const RETRY_MS = 500;
const LONGEST_RETRY_MS = 5_000;

/** A connection that opened without the cluster. */
export interface DegradedConnection {
  readonly connection: ClientConnection;
  /** What it shall follow. */
  readonly topics: readonly string[];
  /** What it gets of them when it is adopted, unless its client has a last id. */
  readonly backlog: Backlog | undefined;
  /** By the monotonic clock. */
  readonly openedAt: number;
  /** The position of this node in the log when it opened. */
  readonly seen: Cursor | undefined;
}

interface Waiting extends DegradedConnection {
  retryAt: number;
  retryMs: number;
}

/** Whether the cluster cannot do for a connection of this id what an opening needs: only its status decides that. */
export function isCutOff({ cluster }: SseNode, connectionId: string): boolean {
  const { reachable, impaired = [] } = cluster.status(connectionId);
  return !reachable || impaired.length > 0;
}

/**
 * Connections that opened while the cluster could not be reached (`onUnavailable: 'degrade'`): known to this node alone,
 * they get its broadcasts and direct sends. Once the cluster is back they are adopted in place, at the pace of a drain,
 * since all nodes are back together: their streams go on.
 */
export class DegradedConnections {
  readonly #waiting = new Set<Waiting>();
  readonly #look = new Periodic(() => this.#adoptSome(), { everyMs: LOOK_MS });

  constructor(
    private readonly node: SseNode,
    /** Makes a connection like any other. Resolves to whether it is, or has ended. Never rejects. */
    private readonly adopt: (degraded: DegradedConnection) => Promise<boolean>,
  ) {}

  /** Opens a stored connection without the cluster. Its first event carries no id: the client keeps the one it has. */
  open(connection: ClientConnection, topics: readonly string[], backlog: Backlog | undefined): void {
    const { cluster, store } = this.node;
    const openedAt = performance.now();
    this.#waiting.add({
      connection,
      topics,
      backlog,
      openedAt,
      seen: cluster.log.lastPosition(),
      retryAt: openedAt,
      retryMs: RETRY_MS,
    });
    store.promote(connection)?.close('superseded');
    connection.open(connectedFrame(connection, this.node, undefined));
    // An entry of the log would move the client past the entries that it missed, without a reset.
    connection.goLive(undefined);
    this.#look.start();
  }

  #adoptSome(): void {
    const now = performance.now();
    let left = Math.max(1, Math.ceil((this.node.options.reconnect.rate * LOOK_MS) / 1000));
    for (const waiting of this.#waiting) {
      const { connection } = waiting;
      if (isEnded(connection.state)) this.#waiting.delete(waiting);
      else if (left > 0 && waiting.retryAt <= now && !isCutOff(this.node, connection.id)) {
        left -= 1;
        this.#waiting.delete(waiting);
        void this.#adopt(waiting);
      }
    }
    if (this.#waiting.size === 0) this.#look.stop();
  }

  async #adopt(waiting: Waiting): Promise<void> {
    if (await this.adopt(waiting)) return;
    waiting.retryAt = performance.now() + waiting.retryMs;
    waiting.retryMs = Math.min(2 * waiting.retryMs, LONGEST_RETRY_MS);
    this.#waiting.add(waiting);
    this.#look.start();
  }
}
