import type { ClientConnection } from '../connection/client-connection.js';
import { directSend } from '../connection/direct-send.js';
import { Piece, SharedPages } from '../connection/pages.js';
import type { Backlog, ReplayPage, ReplayRequest } from '../contracts/cluster.js';
import type { Cursor, Frame, Gap, Position, ResetReason } from '../contracts/events.js';
import type { ReplaySummary } from '../contracts/telemetry.js';
import { beginningOf, cursorBefore, formatCursor, isAfter, parseCursor } from '../protocol/cursor.js';
import { encodeId, encodePosition, GapReport } from '../protocol/event-stream.js';
import { clientIdOf, isMailbox, isSourceTopic } from '../protocol/names.js';
import { LONGEST_MS } from '../time.js';
import type { SseNode } from './node.js';

// Enough to keep a socket busy, little enough to hold in memory for each client that resumes.
const PAGE_ENTRIES = 200;

/** The opening of a connection without the cluster. */
export type Opened = NonNullable<ReplayRequest['opened']>;

/** The positions from which on a client follows some topics. */
type Since = NonNullable<ReplayRequest['since']>;

/** What the first page of a replay depends on, beside the connection. */
interface Beginning {
  /** Where the client began to follow some of its topics. */
  readonly since: Since;
  /** What a client without a cursor gets of the topics that the application named. */
  readonly backlog: Backlog | undefined;
  /** Set when it opened without the cluster: a client without a cursor gets a reset if it may have missed something. */
  readonly opened: Opened | undefined;
}

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
  /** The backlog of a client that begins at the present, up to the head of `page`. */
  readonly backlog: readonly Frame[];
}

/**
 * Brings a connection from where its client stands to the present. The first event, `connected`, carries the id where it
 * starts, so that a client that stays quiet can resume as well. The client gets `sse.reset` before the first entry after a gap.
 */
export class Replayer {
  readonly #pages = new SharedPages();

  constructor(private readonly node: SseNode) {}

  /**
   * Reads the first page, which settles where the replay ends: what is published afterwards waits in the connection. To be
   * called before the connection can be found by its id, so that nothing of a topic that it is subscribed to later counts
   * as replayed.
   */
  async begin(connection: ClientConnection, { since, backlog: most, opened }: Beginning): Promise<ReplayStart> {
    const from = cursorOf(connection);
    const topics = [...connection.topics];
    if (from !== undefined) {
      const page = await this.#read(topics, from, since);
      return { from, topics, since, page, mail: undefined, backlog: [] };
    }
    const named = most === undefined ? [] : topics.filter(topic => !isKeptWhole(topic));
    const wanted = most === undefined || named.length === 0 ? {} : { backlog: { topics: named, most }, since };
    const { page, backlog } = await this.#present(
      { topics, limit: PAGE_ENTRIES, forgets: connection.id },
      connection.ownIds ? undefined : opened,
      wanted,
    );
    const kept = topics.filter(isKeptWhole);
    const mail = kept.length === 0 ? undefined : await this.#mail(kept, beginningOf(page.head.epoch), page.head);
    return { from, topics, since, page, mail, backlog };
  }

  /** Where a client begins that has no cursor, and its backlog. */
  async #present(
    request: ReplayRequest,
    opened: Opened | undefined,
    wanted: Pick<ReplayRequest, 'backlog' | 'since'>,
  ): Promise<Pick<ReplayStart, 'page' | 'backlog'>> {
    const { log } = this.node.cluster;
    if (opened === undefined) {
      // A property that is written again after a spread takes V8 microseconds.
      if (wanted.backlog === undefined) return { page: await log.replay(request), backlog: [] };
      const page = await log.replay({ ...request, ...wanted });
      return { page: { ...page, frames: [] }, backlog: page.frames };
    }
    const page = await log.replay({ ...request, opened });
    if (wanted.backlog === undefined) return { page, backlog: [] };
    const { head, frames } = await log.replay({ ...request, ...wanted });
    // Entries of another log do not belong to this head.
    return { page, backlog: head.epoch === page.head.epoch ? frames : [] };
  }

  /** Opens the connection, writes what was missed as fast as the client takes it, and goes live. */
  async finish(connection: ClientConnection, start: ReplayStart): Promise<void> {
    const position = connection.ownIds ? undefined : positionOf(start);
    connection.open(connectedFrame(connection, this.node, position), position);
    if (isAtPresent(start)) connection.goLive(start.page.head);
    else await this.#write(connection, start);
  }

  /** The same for a connection whose stream is open already. */
  async resume(connection: ClientConnection, start: ReplayStart): Promise<void> {
    const position = start.from === undefined && start.page.gap === undefined ? positionOf(start) : undefined;
    // A client that stays quiet can resume from then on.
    if (position !== undefined && !connection.ownIds)
      connection.replay({ bytes: encodePosition(formatCursor(position)) }, position);
    await this.#write(connection, start);
  }

  async #write(connection: ClientConnection, start: ReplayStart): Promise<void> {
    const { connections } = this.node.telemetry;
    const nothing =
      start.from === undefined &&
      start.mail === undefined &&
      start.backlog.length === 0 &&
      start.page.gap === undefined;
    if (nothing) await this.#bring(connection, start);
    else await connections.replaying(connection.id, () => this.#bring(connection, start));
  }

  async #bring(connection: ClientConnection, start: ReplayStart): Promise<ReplaySummary> {
    const { topics, since } = start;
    let { page } = start;
    let goal = page.head;
    let entries = await this.#writeKept(connection, start);
    const resets: ResetReason[] = [];
    let reported: Gap | undefined;
    for (;;) {
      const { gap } = page;
      // A page that begins within a gap has it once more. One without it may be of the tail, which has entries that Redis has lost:
      // what is missing after those needs a reset of its own.
      if (gap === undefined) reported = undefined;
      else if (isWithin(gap, reported)) page = { ...page, gap: undefined };
      else {
        reported = gap;
        resets.push(gap.reason);
      }
      if (!isEmpty(page)) entries += await this.#writePage(connection, page, goal);
      if (connection.state.kind !== 'opening') return { entries, resets };
      const { epoch } = page.head;
      if (!isAfter(goal, page.completeTo) || !isAfter(page.head, page.completeTo)) {
        // Where the node is behind the log, the rest up to the goal has still to come from its feed.
        connection.goLive(isAfter(goal, page.completeTo) ? { epoch, ...page.completeTo } : goal);
        return { entries, resets };
      }
      page = await this.#read(topics, { epoch, ...page.completeTo }, since);
      // The log was lost meanwhile; positions of the old one say nothing about the new one.
      if (page.head.epoch !== epoch) goal = page.head;
    }
  }

  /** A page of what waits for a client, if anything does. The client goes live at `until`: the feed does not bring it. */
  async #mail(topics: readonly string[], after: Cursor, until: Cursor): Promise<ReplayPage | undefined> {
    const request = { topics, after, until, limit: PAGE_ENTRIES, broadcasts: false as const };
    const page = await this.node.cluster.log.replay(request);
    return page.frames.length === 0 ? undefined : page;
  }

  /**
   * Writes what waits for a client up to the head, from its first page on, and the backlog, both in the order of the log: a
   * client leaves out an entry that is not newer than the one before. Returns how many entries it wrote.
   */
  async #writeKept(
    connection: ClientConnection,
    { topics, page: { head }, mail, backlog }: ReplayStart,
  ): Promise<number> {
    const kept = topics.filter(isKeptWhole);
    const { epoch } = head;
    let entries = 0;
    let rest = backlog;
    for (let page = mail; page !== undefined;) {
      const { completeTo, frames } = page;
      const isDue = ({ position }: Frame): boolean => position === undefined || !isAfter(position, completeTo);
      const due = inOrder([...frames, ...rest.filter(isDue)]);
      rest = rest.filter(frame => !isDue(frame));
      entries += await this.#writeFrames(connection, due, head);
      const more: boolean = isAfter(head, completeTo) && page.head.epoch === epoch;
      page = more ? await this.#mail(kept, { epoch, ...completeTo }, head) : undefined;
    }
    entries += await this.#writeFrames(connection, rest, head);
    // The ids of its entries are behind the head. No event may follow the last one of a source.
    const encode = kept.some(isSourceTopic) ? encodeId : encodePosition;
    if (entries > 0) connection.replay({ bytes: encode(formatCursor(head)) }, head);
    return entries;
  }

  #read(topics: readonly string[], after: Cursor, since: Since): Promise<ReplayPage> {
    const request = { topics, after, limit: PAGE_ENTRIES };
    return this.node.cluster.log.replay(since.size === 0 ? request : { ...request, since });
  }

  /** Returns how many entries it wrote. */
  async #writePage(connection: ClientConnection, page: ReplayPage, goal: Position): Promise<number> {
    if (page.gap !== undefined) await this.#reset(connection, page.gap);
    return this.#writeFrames(connection, page.frames, goal);
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

  async #writeFrames(connection: ClientConnection, frames: readonly Frame[], goal: Position): Promise<number> {
    if (frames.length === 0) return 0;
    // What was published since the first page waits in the connection.
    const isDue = ({ position }: Frame): boolean => position === undefined || !isAfter(position, goal);
    const due = frames.slice(-1).every(isDue) ? frames : frames.filter(isDue);
    for (const piece of this.#pages.piecesOf(due)) {
      if (connection.state.kind !== 'opening') break;
      connection.replay(piece);
      this.node.limits.replayed(connection, piece.bytes.length);
      if (piece instanceof Piece) await connection.written();
    }
    await connection.written();
    const { turns } = this.node.environment;
    if (turns.over) await turns.next();
    return due.length;
  }
}

/** Where the client of a connection stands; `undefined` for one that begins at the present. */
export function cursorOf({
  lastEventId,
  ownIds,
}: Pick<ClientConnection, 'lastEventId' | 'ownIds'>): Cursor | undefined {
  return ownIds || lastEventId === undefined ? undefined : parseCursor(lastEventId);
}

/** Whether a client that begins at the present has nothing to wait for. */
function isAtPresent({ from, mail, backlog, page }: ReplayStart): boolean {
  return (
    from === undefined &&
    mail === undefined &&
    backlog.length === 0 &&
    isEmpty(page) &&
    !isAfter(page.head, page.completeTo)
  );
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
function positionOf({ from, page, mail, backlog }: ReplayStart): Cursor | undefined {
  if (from === undefined) return startOf([mail?.frames[0], backlog[0]], page.head);
  return page.gap === undefined ? from : undefined;
}

/**
 * Where a client begins: at the present, but not behind what it is about to get, so that one that comes back before it has
 * that gets it then.
 */
function startOf(firsts: readonly (Frame | undefined)[], head: Cursor): Cursor {
  const [first] = inOrder(firsts.filter(frame => frame !== undefined));
  return first?.position === undefined || isAfter(first.position, head) ? head : cursorBefore(first.position);
}

function inOrder(frames: Frame[]): readonly Frame[] {
  return frames.sort((a, b) =>
    a.position !== undefined && b.position !== undefined && isAfter(a.position, b.position) ? 1 : -1,
  );
}

/** Whether a client that begins anew is given what a topic has. */
function isKeptWhole(topic: string): boolean {
  return isMailbox(topic) || isSourceTopic(topic);
}

/** The first event of a stream. @param start where it starts; without it the event repeats the id that the client has */
export function connectedFrame(
  connection: ClientConnection,
  { options: { node, reconnect }, confirmations }: Pick<SseNode, 'options' | 'confirmations'>,
  start: Cursor | undefined,
): Frame {
  const { id: connectionId, lastEventId } = connection;
  // Spread around the setting, so that the clients of a node that dies do not come back in one instant.
  const retry = Math.min(Math.round(reconnect.retry * (0.5 + Math.random())), LONGEST_MS);
  const id = start === undefined ? lastEventId : formatCursor(start);
  const idLine = id === undefined ? '' : `id: ${id}\n`;
  const token = confirmations?.tokenOf(connection);
  const confirm = token === undefined ? '' : `,"confirm":"${token}"`;
  // A client names its connection without the user.
  const data = `{"connectionId":${JSON.stringify(clientIdOf(connectionId))},"nodeId":${JSON.stringify(node.id)}${confirm}}`;
  // Each part is known to be legal, and JSON has no line breaks.
  return { bytes: Buffer.from(`${idLine}retry: ${retry}\nevent: connected\ndata: ${data}\n\n`) };
}
