import type { ClientConnection } from '../connection/client-connection.js';
import { directSend } from '../connection/direct-send.js';
import type { ReplayPage, ReplayRequest } from '../contracts/cluster.js';
import type { Cursor, Frame, Gap, Position, ResetReason } from '../contracts/events.js';
import type { ReplaySummary } from '../contracts/telemetry.js';
import type { ResolvedSseOptions } from '../options/sse-options.js';
import { beginningOf, cursorBefore, formatCursor, isAfter, parseCursor } from '../protocol/cursor.js';
import { encodeId } from '../protocol/event-stream.js';
import { GapReport } from '../protocol/gap.js';
import { isMailbox, isSourceTopic } from '../protocol/names.js';
import { LONGEST_MS } from '../time.js';
import type { SseNode } from './node.js';

// Enough to keep a socket busy, little enough to hold in memory for each client that resumes.
const PAGE_ENTRIES = 200;

/** The opening of a connection without the cluster. */
export type Opened = NonNullable<ReplayRequest['opened']>;

/** The positions from which on a client follows some topics. */
type Since = NonNullable<ReplayRequest['since']>;

/** The beginning of what a client missed. */
export interface ReplayStart {
  /** Where the client stands; `undefined` for one that begins at the present. */
  readonly from: Cursor | undefined;
  readonly topics: readonly string[];
  /** Where it began to follow some of them, if after `from`. */
  readonly since: Since;
  readonly page: ReplayPage;
  /** What is in the mailbox of a client that begins at the present. */
  readonly mail: ReplayPage | undefined;
}

/**
 * Brings a connection from where its client stands to the present. The first event, `connected`, carries the id where it
 * starts, so that a client that stays quiet can resume as well. The client gets `sse.reset` before the first entry after a gap.
 */
export class Replayer {
  constructor(private readonly node: SseNode) {}

  /**
   * Reads the first page, which settles where the replay ends: what is published afterwards waits in the connection. To be
   * called before the connection can be found by its id, so that nothing of a topic that it is subscribed to later counts
   * as replayed.
   * @param since where the client began to follow some of its topics
   * @param opened when it opened without the cluster: a client without a cursor gets a reset if it may have missed something
   */
  async begin(connection: ClientConnection, since: Since, opened?: Opened): Promise<ReplayStart> {
    const from = cursorOf(connection);
    const topics = [...connection.topics];
    const missing = connection.ownIds || opened === undefined ? {} : { opened };
    const page = await (from === undefined
      ? this.node.cluster.log.replay({ topics, limit: PAGE_ENTRIES, forgets: connection.id, ...missing })
      : this.#read(topics, from, since));
    const kept = from === undefined ? topics.filter(isKeptWhole) : [];
    const mail = kept.length === 0 ? undefined : await this.#mail(kept, beginningOf(page.head.epoch));
    return { from, topics, since, page, mail };
  }

  /** Opens the connection, writes what was missed as fast as the client takes it, and goes live. */
  async finish(connection: ClientConnection, start: ReplayStart): Promise<void> {
    const position = connection.ownIds ? undefined : positionOf(start);
    connection.open(connectedFrame(connection, this.node.options, position));
    if (isAtPresent(start)) connection.goLive(start.page.head);
    else await this.#write(connection, start);
  }

  /** The same for a connection whose stream is open already. */
  async resume(connection: ClientConnection, start: ReplayStart): Promise<void> {
    const position = start.from === undefined && start.page.gap === undefined ? positionOf(start) : undefined;
    // A client that stays quiet can resume from then on.
    if (position !== undefined && !connection.ownIds) connection.replay({ bytes: encodeId(formatCursor(position)) });
    await this.#write(connection, start);
  }

  async #write(connection: ClientConnection, start: ReplayStart): Promise<void> {
    const { connections } = this.node.telemetry;
    const nothing = start.from === undefined && start.mail === undefined && start.page.gap === undefined;
    if (nothing) await this.#bring(connection, start);
    else await connections.replaying(connection.id, () => this.#bring(connection, start));
  }

  async #bring(connection: ClientConnection, { topics, since, page, mail }: ReplayStart): Promise<ReplaySummary> {
    let goal = page.head;
    let entries = mail === undefined ? 0 : await this.#writeMail(connection, topics.filter(isKeptWhole), mail, goal);
    const resets: ResetReason[] = [];
    let reported: Gap | undefined;
    for (;;) {
      const { gap } = page;
      // A page that begins within a gap has it once more.
      if (gap !== undefined && isWithin(gap, reported)) page = { ...page, gap: undefined };
      else if (gap !== undefined) {
        reported = gap;
        resets.push(gap.reason);
      }
      if (!isEmpty(page)) entries += await this.#writePage(connection, page, goal);
      if (connection.state.kind !== 'opening') return { entries, resets };
      if (!isAfter(goal, page.completeTo) || !isAfter(page.head, page.completeTo)) {
        connection.goLive(goal);
        return { entries, resets };
      }
      const { epoch } = page.head;
      page = await this.#read(topics, { epoch, ...page.completeTo }, since);
      // The log was lost meanwhile; positions of the old one say nothing about the new one.
      if (page.head.epoch !== epoch) goal = page.head;
    }
  }

  /** A page of what waits for a client, if anything does. */
  async #mail(topics: readonly string[], after: Cursor): Promise<ReplayPage | undefined> {
    const request = { topics, after, limit: PAGE_ENTRIES, broadcasts: false as const };
    const page = await this.node.cluster.log.replay(request);
    return page.frames.length === 0 ? undefined : page;
  }

  /** Writes what waits for a client up to the head, from its first page on. Returns how many entries it wrote. */
  async #writeMail(
    connection: ClientConnection,
    topics: readonly string[],
    first: ReplayPage,
    head: Cursor,
  ): Promise<number> {
    let entries = 0;
    let page: ReplayPage | undefined = first;
    while (page !== undefined) {
      entries += await this.#writeFrames(connection, page, head);
      const { epoch } = head;
      const more: boolean = isAfter(head, page.completeTo) && page.head.epoch === epoch;
      page = more ? await this.#mail(topics, { epoch, ...page.completeTo }) : undefined;
    }
    // The ids of its entries are behind the head.
    if (entries > 0) connection.replay({ bytes: encodeId(formatCursor(head)) });
    return entries;
  }

  #read(topics: readonly string[], after: Cursor, since: Since): Promise<ReplayPage> {
    const request = { topics, after, limit: PAGE_ENTRIES };
    return this.node.cluster.log.replay(since.size === 0 ? request : { ...request, since });
  }

  /** Returns how many entries it wrote. */
  async #writePage(connection: ClientConnection, page: ReplayPage, goal: Position): Promise<number> {
    if (page.gap !== undefined) await this.#reset(connection, page.gap);
    return this.#writeFrames(connection, page, goal);
  }

  /** Writes the event `sse.reset`, and what the application sends in its place. */
  async #reset(connection: ClientConnection, gap: Gap): Promise<void> {
    const topics = [...(gap.topics?.keys() ?? connection.topics)];
    const frame = GapReport.of(gap).frameFor(topics, true);
    connection.replay(frame);
    await this.node.resetHooks.replaying(connection, frame.reset, (event, data, options) =>
      directSend(
        {
          id: connection.id,
          deliver: frame => connection.insert(frame),
        },
        this.node.environment,
        event,
        data,
        options,
      ),
    );
  }

  async #writeFrames(connection: ClientConnection, { frames }: ReplayPage, goal: Position): Promise<number> {
    let entries = 0;
    for (const frame of frames) {
      // Published since the first page, so it waits in the connection.
      if (frame.position !== undefined && isAfter(frame.position, goal)) break;
      connection.replay(frame);
      entries += 1;
    }
    await connection.written();
    const { turns } = this.node.environment;
    if (turns.over) await turns.next();
    return entries;
  }
}

/** Where the client of a connection stands; `undefined` for one that begins at the present. */
export function cursorOf({
  lastEventId,
  ownIds,
}: Pick<ClientConnection, 'lastEventId' | 'ownIds'>): Cursor | undefined {
  return ownIds || lastEventId === undefined ? undefined : parseCursor(lastEventId);
}

/** Whether a page has nothing to write, as that of a client that begins at the present. */
/** Whether a client that begins at the present has nothing to wait for. */
function isAtPresent({ from, mail, page }: ReplayStart): boolean {
  return from === undefined && mail === undefined && isEmpty(page) && !isAfter(page.head, page.completeTo);
}

function isEmpty({ gap, frames }: ReplayPage): boolean {
  return gap === undefined && frames.length === 0;
}

/** Whether the client got a reset for all of a gap. */
function isWithin({ reason, topics }: Gap, reported: Gap | undefined): boolean {
  if (reason !== 'GAP' || topics === undefined || reported?.topics === undefined) return false;
  for (const [topic, until] of topics) {
    const former = reported.topics.get(topic);
    if (former === undefined || isAfter(until, former)) return false;
  }
  return true;
}

/** The id that the client is given first; `undefined` when it keeps the one it has. */
function positionOf({ from, page, mail }: ReplayStart): Cursor | undefined {
  if (from === undefined) return startOf(mail, page.head);
  return page.gap === undefined ? from : undefined;
}

/** Where a client begins: at the present, but not behind what waits for it. */
function startOf(mail: ReplayPage | undefined, head: Cursor): Cursor {
  const first = mail?.frames[0]?.position;
  return first === undefined ? head : cursorBefore(first);
}

/** Whether a client that begins anew is given what a topic has. */
function isKeptWhole(topic: string): boolean {
  return isMailbox(topic) || isSourceTopic(topic);
}

/** The first event of a stream. @param start where it starts; without it the event repeats the id that the client has */
export function connectedFrame(
  { id: connectionId, lastEventId }: ClientConnection,
  { node, reconnect }: ResolvedSseOptions,
  start: Cursor | undefined,
): Frame {
  // Spread around the setting, so that the clients of a node that dies do not come back in one instant.
  const retry = Math.min(Math.round(reconnect.retry * (0.5 + Math.random())), LONGEST_MS);
  const id = start === undefined ? lastEventId : formatCursor(start);
  const idLine = id === undefined ? '' : `id: ${id}\n`;
  const data = `{"connectionId":${JSON.stringify(connectionId)},"nodeId":${JSON.stringify(node.id)}}`;
  // Each part is known to be legal, and JSON has no line breaks.
  return { bytes: Buffer.from(`${idLine}retry: ${retry}\nevent: connected\ndata: ${data}\n\n`) };
}
