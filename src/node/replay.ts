import type { ClientConnection } from '../connection/client-connection.js';
import { ResetNotice } from '../protocol/gap.js';
import { directSend } from '../connection/direct-send.js';
import type { ReplayPage } from '../contracts/cluster.js';
import type { Reset, ResetClient, ResetHook } from '../contracts/connection.js';
import type { Cursor, Hole, Position, ResetReason } from '../contracts/events.js';
import type { Logger } from '../contracts/logger.js';
import type { LocalConnection } from '../contracts/store.js';
import type { ConnectionTelemetry, ReplaySummary } from '../contracts/telemetry.js';
import { SseError } from '../errors.js';
import { formatCursor, isAfter, parseCursor } from '../protocol/cursor.js';
import { encodeId } from '../protocol/event-stream.js';
import { isMailbox, isSourceTopic } from '../protocol/names.js';
import type { SseNode } from './node.js';
import { connectedFrame } from './open.js';

// Enough to keep a socket busy, little enough to hold in memory for each client that resumes.
const PAGE_ENTRIES = 200;

type PageReset = NonNullable<ReplayPage['reset']>;

/** The beginning of what a client missed. */
export interface ReplayStart {
  /** Where the client stands; `undefined` for one that begins at the present. */
  readonly from: Cursor | undefined;
  readonly topics: readonly string[];
  readonly page: ReplayPage;
  /** What is in the mailbox of a client that begins at the present. */
  readonly mail: ReplayPage | undefined;
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
    const page = await this.#read(topics, from);
    const oldest: Cursor = { epoch: page.tip.epoch, ms: 0, sequence: 0 };
    const kept = from === undefined ? topics.filter(isKeptWhole) : [];
    const mail = kept.length === 0 ? undefined : await this.#mail(kept, oldest);
    return { from, topics, page, mail };
  }

  /** Opens the connection, writes what was missed as fast as the client takes it, and goes live. */
  async finish(connection: ClientConnection, start: ReplayStart): Promise<void> {
    const { connections } = this.node.telemetry;
    const nothing = start.from === undefined && start.mail === undefined;
    if (nothing) await this.#bring(connection, start);
    else await connections.replaying(connection.id, () => this.#bring(connection, start));
  }

  async #bring(
    connection: ClientConnection,
    { from, topics, page, mail }: ReplayStart,
  ): Promise<ReplaySummary> {
    const start =
      from === undefined ? startOf(mail, page.tip) : page.reset === undefined ? from : undefined;
    connection.open(connectedFrame(connection, this.node.options, start));
    let goal = page.tip;
    let entries =
      mail === undefined
        ? 0
        : await this.#writeMail(connection, topics.filter(isKeptWhole), mail, goal);
    const resets: ResetReason[] = [];
    for (;;) {
      if (page.reset !== undefined) resets.push(page.reset.reason);
      if (!isEmpty(page)) entries += await this.#write(connection, page, goal);
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

  /** A page of what waits for a client, if anything does. */
  async #mail(topics: readonly string[], after: Cursor): Promise<ReplayPage | undefined> {
    const request = { topics, after, limit: PAGE_ENTRIES, broadcasts: false as const };
    const page = await this.node.policy.execute('register', () =>
      this.node.coordinator.replay(request),
    );
    return page.frames.length === 0 ? undefined : page;
  }

  /** Writes what waits for a client up to the tip, from its first page on. Returns how many entries it wrote. */
  async #writeMail(
    connection: ClientConnection,
    topics: readonly string[],
    first: ReplayPage,
    tip: Cursor,
  ): Promise<number> {
    let entries = 0;
    let page: ReplayPage | undefined = first;
    while (page !== undefined) {
      entries += await this.#writeFrames(connection, page, tip);
      const { epoch } = tip;
      const more: boolean = isAfter(tip, page.upto) && page.tip.epoch === epoch;
      page = more ? await this.#mail(topics, { epoch, ...page.upto }) : undefined;
    }
    // The ids of its entries are behind the tip.
    if (entries > 0) connection.replay({ bytes: encodeId(formatCursor(tip)) });
    return entries;
  }

  #read(topics: readonly string[], after: Cursor | undefined): Promise<ReplayPage> {
    const request = { topics, limit: PAGE_ENTRIES };
    return this.node.policy.execute('register', () =>
      this.node.coordinator.replay(after === undefined ? request : { ...request, after }),
    );
  }

  /** Returns how many entries it wrote. */
  async #write(connection: ClientConnection, page: ReplayPage, goal: Position): Promise<number> {
    if (page.reset !== undefined) await this.#tell(connection, holeOf(page, page.reset));
    return this.#writeFrames(connection, page, goal);
  }

  async #tell(connection: ClientConnection, hole: Hole): Promise<void> {
    connection.replay(new ResetNotice(hole).frameFor(connection.topics, true));
    await this.node.resetHooks.replaying(connection, hole, (event, data, options) =>
      directSend(
        {
          id: connection.id,
          deliver: frame => {
            connection.replay(frame);
            return { outcome: connection.state.kind === 'opening' ? 'buffered' : 'closed' };
          },
        },
        this.node.environment,
        event,
        data,
        options,
      ),
    );
  }

  async #writeFrames(
    connection: ClientConnection,
    { frames }: ReplayPage,
    goal: Position,
  ): Promise<number> {
    let entries = 0;
    for (const frame of frames) {
      // Published since the first page, so it waits in the connection.
      if (frame.position !== undefined && isAfter(frame.position, goal)) break;
      connection.replay(frame);
      entries += 1;
      await connection.drained();
    }
    return entries;
  }
}

/** Whether a page has nothing to write, as that of a client that begins at the present. */
function isEmpty({ reset, frames }: ReplayPage): boolean {
  return reset === undefined && frames.length === 0;
}

/** Where a client begins: at the present, but not behind what waits for it. */
function startOf(mail: ReplayPage | undefined, tip: Cursor): Cursor {
  const position = mail?.frames[0]?.position;
  return position === undefined
    ? tip
    : { epoch: tip.epoch, ms: position.ms, sequence: position.sequence - 1 };
}

/** What the client misses before a page. */
function holeOf({ tip, frames }: ReplayPage, { reason, topics }: PageReset): Hole {
  const first = frames[0]?.position;
  // Just before the first entry that is there, so that a client that leaves now gets that entry later.
  const resumedFrom = first
    ? { epoch: tip.epoch, ms: first.ms, sequence: first.sequence - 1 }
    : tip;
  return { reason, topics, resumedFrom, until: resumedFrom };
}

/** Whether a client that begins anew is given what a topic has. */
function isKeptWhole(topic: string): boolean {
  return isMailbox(topic) || isSourceTopic(topic);
}

const PATIENCE_MS = 10_000;

/** What applications do when a client of theirs is told of a hole. A failure is logged and costs nobody anything else. */
export class ResetHooks {
  readonly #hooks = new WeakMap<LocalConnection, ResetHook>();

  constructor(
    private readonly logger: Logger,
    private readonly telemetry: Pick<ConnectionTelemetry, 'handling'>,
  ) {}

  set(connection: LocalConnection, hook: ResetHook): void {
    this.#hooks.set(connection, hook);
  }

  /** Runs the hook of a connection whose stream goes on, once the client has been told. */
  told(connection: LocalConnection, hole: Hole): void {
    const hook = this.#hooks.get(connection);
    if (hook === undefined) return;
    const reset = resetOf(connection, hole);
    queueMicrotask(() => {
      if (connection.state.kind !== 'open') return;
      void this.telemetry.handling(connection, () => this.#run(hook, connection, reset));
    });
  }

  /** Runs the hook of a connection that is being replayed to, and waits for it, but not for ever. */
  async replaying(
    connection: LocalConnection,
    hole: Hole,
    send: ResetClient['send'],
  ): Promise<void> {
    const hook = this.#hooks.get(connection);
    if (hook === undefined) return;
    const { id, topics } = connection;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>(resolve => {
      timer = setTimeout(() => {
        this.#report(id, new SseError('INTERNAL', `onReset must settle within ${PATIENCE_MS} ms`));
        resolve();
      }, PATIENCE_MS);
    });
    const run = this.#run(hook, { id, topics, send }, resetOf(connection, hole));
    await Promise.race([run, late]);
    clearTimeout(timer);
  }

  async #run(hook: ResetHook, client: ResetClient, reset: Reset): Promise<void> {
    try {
      await hook(client, reset);
    } catch (error) {
      this.#report(client.id, error);
    }
  }

  #report(connectionId: string, error: unknown): void {
    this.logger.error('an onReset hook failed; the stream goes on without', {
      connectionId,
      error,
    });
  }
}

function resetOf({ topics: followed }: LocalConnection, hole: Hole): Reset {
  const { reason, topics = [...followed], resumedFrom } = hole;
  return { reason, topics, resumedFrom: formatCursor(resumedFrom) };
}
