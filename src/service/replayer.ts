import type { ClientConnection } from '../connection/client-connection.js';
import type { ReplayPage } from '../contracts/cluster-coordinator.js';
import type { Cursor, Frame } from '../contracts/frame.js';
import { formatCursor, isAfter, parseCursor } from '../protocol/cursor.js';
import { encodeEvent } from '../protocol/encode-event.js';
import type { SseNode } from './sse-node.js';

// Enough to keep a socket busy, little enough to hold in memory for each client that resumes.
const PAGE_ENTRIES = 200;

/**
 * Brings a registered connection from where its client stands to the present. The first event, `connected`, carries the
 * id where it starts, so that a client that stays quiet can resume as well. A hole is told before anything that comes
 * after it.
 */
export class Replayer {
  constructor(private readonly node: SseNode) {}

  async replay(connection: ClientConnection): Promise<void> {
    const { lastEventId } = connection;
    const from = lastEventId === undefined ? undefined : parseCursor(lastEventId);
    let page = await this.#read(connection, from);
    if (!isOpening(connection)) return;
    connection.open(this.#connected(connection, from, page));
    // What is published after the first page waits in the connection.
    const goal = page.tip;
    for (;;) {
      await this.#write(connection, page);
      const { upto } = page;
      if (!isOpening(connection)) return;
      if (!isAfter(goal, upto)) {
        connection.goLive(upto);
        return;
      }
      page = await this.#read(connection, { epoch: page.tip.epoch, ...upto });
    }
  }

  #read(connection: ClientConnection, after: Cursor | undefined): Promise<ReplayPage> {
    const request = { topics: [...connection.topics], limit: PAGE_ENTRIES };
    return this.node.policy.execute('register', () =>
      this.node.coordinator.replay(after === undefined ? request : { ...request, after }),
    );
  }

  async #write(connection: ClientConnection, page: ReplayPage): Promise<void> {
    if (page.reset !== undefined) connection.replay(resetFrame(page, page.reset));
    for (const frame of page.frames) {
      connection.replay(frame);
      if (connection.outboxBytes > 0) await connection.drained();
    }
  }

  #connected(connection: ClientConnection, from: Cursor | undefined, page: ReplayPage): Frame {
    const start = from === undefined ? page.tip : page.reset === undefined ? from : undefined;
    return {
      bytes: encodeEvent({
        event: 'connected',
        id: start && formatCursor(start),
        retry: this.#retry(),
        data: JSON.stringify({ connectionId: connection.id, nodeId: this.node.options.node.id }),
      }),
    };
  }

  /** Spread around the setting, so that the clients of a node that dies do not come back in one instant. */
  #retry(): number {
    return Math.round(this.node.options.reconnect.retry * (0.5 + Math.random()));
  }
}

function isOpening({ state }: ClientConnection): boolean {
  return state.kind === 'opening';
}

/** Tells the client that entries are missing, with the id at which the stream goes on. */
function resetFrame(page: ReplayPage, reset: NonNullable<ReplayPage['reset']>): Frame {
  const first = page.frames[0]?.position;
  const { epoch } = page.tip;
  // Just before the first entry that is there, so that a client that leaves now gets that entry later.
  const resumedFrom = formatCursor(
    first ? { epoch, ms: first.ms, sequence: first.sequence - 1 } : page.tip,
  );
  return {
    bytes: encodeEvent({
      event: 'sse.reset',
      id: resumedFrom,
      data: JSON.stringify({ reason: reset.reason, topics: reset.topics, resumedFrom }),
    }),
  };
}
