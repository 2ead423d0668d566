import type { ClientConnection } from '../connection/client-connection.js';
import { ResetNotice } from '../connection/reset-notice.js';
import type { ReplayPage } from '../contracts/cluster-coordinator.js';
import type { Cursor, Frame, Position } from '../contracts/frame.js';
import type { ResetReason } from '../contracts/hole.js';
import type { ReplaySummary } from '../contracts/telemetry.js';
import { isAfter, parseCursor } from '../protocol/cursor.js';
import { connectedFrame } from './connected-frame.js';
import type { SseNode } from './sse-node.js';

// Enough to keep a socket busy, little enough to hold in memory for each client that resumes.
const PAGE_ENTRIES = 200;

type Reset = NonNullable<ReplayPage['reset']>;

/** The beginning of what a client missed. */
export interface ReplayStart {
  /** Where the client stands; `undefined` for one that begins at the present. */
  readonly from: Cursor | undefined;
  readonly topics: readonly string[];
  readonly page: ReplayPage;
}

/**
 * Brings a connection from where its client stands to the present. The first event, `connected`, carries the id where it
 * starts, so that a client that stays quiet can resume as well. A hole is told before anything that comes after it.
 */
export class Replayer {
  constructor(private readonly node: SseNode) {}

  /**
   * Reads the first page, which settles where the replay ends: what is published afterwards waits in the connection. To be
   * called before the connection can be found by its id, so that nothing of a topic that it is subscribed to later counts
   * as replayed.
   */
  async begin(connection: ClientConnection): Promise<ReplayStart> {
    const { lastEventId } = connection;
    const from = lastEventId === undefined ? undefined : parseCursor(lastEventId);
    const topics = [...connection.topics];
    return { from, topics, page: await this.#read(topics, from) };
  }

  /** Opens the connection, writes what was missed as fast as the client takes it, and goes live. */
  async finish(connection: ClientConnection, start: ReplayStart): Promise<void> {
    const { connections } = this.node.telemetry;
    if (start.from === undefined) await this.#bring(connection, start);
    else await connections.replaying(connection.id, () => this.#bring(connection, start));
  }

  async #bring(
    connection: ClientConnection,
    { from, topics, page }: ReplayStart,
  ): Promise<ReplaySummary> {
    const start = from === undefined ? page.tip : page.reset === undefined ? from : undefined;
    connection.open(connectedFrame(connection, this.node.options, start));
    let goal = page.tip;
    let entries = 0;
    const resets: ResetReason[] = [];
    for (;;) {
      if (page.reset !== undefined) resets.push(page.reset.reason);
      entries += await this.#write(connection, page, goal);
      if (connection.state.kind !== 'opening') return { entries, resets };
      if (!isAfter(goal, page.upto) || !isAfter(page.tip, page.upto)) {
        connection.goLive(goal);
        return { entries, resets };
      }
      const { epoch } = page.tip;
      page = await this.#read(topics, { epoch, ...page.upto });
      // The log was lost meanwhile; positions of the old one say nothing about the new one.
      if (page.tip.epoch !== epoch) goal = page.tip;
    }
  }

  #read(topics: readonly string[], after: Cursor | undefined): Promise<ReplayPage> {
    const request = { topics, limit: PAGE_ENTRIES };
    return this.node.policy.execute('register', () =>
      this.node.coordinator.replay(after === undefined ? request : { ...request, after }),
    );
  }

  /** Returns how many entries it wrote. */
  async #write(connection: ClientConnection, page: ReplayPage, goal: Position): Promise<number> {
    if (page.reset !== undefined) connection.replay(resetFrame(page, page.reset));
    let entries = 0;
    for (const frame of page.frames) {
      // Published since the first page, so it waits in the connection.
      if (frame.position !== undefined && isAfter(frame.position, goal)) break;
      connection.replay(frame);
      entries += 1;
      await connection.drained();
    }
    return entries;
  }
}

/** Tells the client that entries are missing, and where the stream goes on. */
function resetFrame({ tip, frames }: ReplayPage, { reason, topics }: Reset): Frame {
  const first = frames[0]?.position;
  // Just before the first entry that is there, so that a client that leaves now gets that entry later.
  const resumedFrom = first
    ? { epoch: tip.epoch, ms: first.ms, sequence: first.sequence - 1 }
    : tip;
  return new ResetNotice({ reason, topics, resumedFrom, until: resumedFrom }).frameFor([], true);
}
