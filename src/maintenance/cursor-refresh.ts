import type { ClusterCoordinator } from '../contracts/cluster-coordinator.js';
import type { ConnectionStore } from '../contracts/connection-store.js';
import { formatCursor } from '../protocol/cursor.js';
import { encodeId } from '../protocol/encode-event.js';

/**
 * Moves quiet clients along: one that is given nothing for as long as the log keeps entries would come back with an id that
 * is too old to say that nothing is missing. Writes the present place as a block that is only an id, which a browser takes
 * over without an event.
 */
export class CursorRefresh {
  #timer: NodeJS.Timeout | undefined;

  /** @param historyTtl milliseconds that the log keeps an entry */
  constructor(
    private readonly store: ConnectionStore,
    private readonly coordinator: Pick<ClusterCoordinator, 'position'>,
    private readonly historyTtl: number,
  ) {}

  /** Runs twice in the time that entries are kept, until {@link stop}. Twice is harmless. */
  start(): void {
    this.#timer ??= setInterval(() => this.run(), this.historyTtl / 2).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** One pass over the store. Returns how many clients it moved. */
  run(): number {
    const position = this.coordinator.position();
    if (position === undefined) return 0;
    const frame = { bytes: encodeId(formatCursor(position)), position };
    let moved = 0;
    for (const connection of [...this.store.connections()]) {
      const { state, fence, outboxBytes } = connection;
      // Without a fence the cluster does not know it, and it may have missed something; a slow one is given events soon.
      if (state.kind !== 'open' || fence === 0 || outboxBytes > 0) continue;
      if (connection.hasReached(position)) continue;
      connection.enqueue(frame);
      moved += 1;
    }
    return moved;
  }
}
