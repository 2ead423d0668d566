import type { Command, Redis } from 'ioredis';

/** Milliseconds after which a command counts as unanswered. */
const COMMAND_TIMEOUT = 1_000;
/** Milliseconds without a byte after that, after which the socket is closed. */
const SOCKET_TIMEOUT = 4_000;
/** Milliseconds that a timer is late at least when the event loop stood still. */
const STALL = 50;
/** Milliseconds that the commands of a connection get after that, to be written and answered. */
const GRACE = 100;
/** Places of answered commands after which they are removed. */
const MOST_FORGOTTEN = 256;

/** A command without an answer, and when it counts as unanswered, by the monotonic clock. */
interface Waiting {
  readonly command: Pick<Command, 'isResolved' | 'reject'>;
  readonly due: number;
}

/** One socket of a connection, from which no byte came since a command counted as unanswered. */
interface QuietSocket {
  readonly stream: Redis['stream'];
  readonly bytes: number;
  /** When it is closed. */
  readonly due: number;
}

/**
 * Rejects the commands of one connection that got no answer within a second, with one timer for all. When no byte comes for
 * five seconds while a command waits, it closes the socket, and the client opens another. An event loop that stood still runs
 * its timers before it reads the answers that came meanwhile, and before it writes the commands that were made in the same
 * turn: both are done first. So a node that was busy knows what Redis answered.
 */
export class AnswerTimeout {
  /** In the order in which they were sent, which is the order of their answers. */
  #waiting: (Waiting | undefined)[] = [];
  /** Those in front of it are answered, and `undefined`. */
  #first = 0;
  #planned = false;
  #quiet: QuietSocket | undefined;

  constructor(private readonly connection: Pick<Redis, 'stream'>) {}

  /** To be called with each command that is sent. */
  add(command: Waiting['command']): void {
    this.#forgetAnswered();
    this.#waiting.push({ command, due: performance.now() + COMMAND_TIMEOUT });
    if (!this.#planned) this.#plan(COMMAND_TIMEOUT);
  }

  #plan(ms: number): void {
    this.#planned = true;
    const at = performance.now() + ms;
    const onTime = (): void => {
      const now = performance.now();
      const end = (): void => this.#end(now);
      // A setImmediate runs when the sockets have been read.
      if (now - at < STALL) setImmediate(end);
      else setTimeout(() => setImmediate(end), GRACE).unref();
    };
    setTimeout(onTime, ms).unref();
  }

  /** Rejects the commands that were due at this time, and plans for the others. */
  #end(now: number): void {
    const open = this.#waiting.filter(waiting => waiting !== undefined).filter(({ command }) => !command.isResolved);
    const late = open.filter(({ due }) => due <= now);
    const [next] = (this.#waiting = open.filter(({ due }) => due > now));
    this.#first = 0;
    this.#quiet = this.#quietSocket(now, late.length > 0);
    this.#planned = false;
    if (next !== undefined) this.#plan(Math.max(1, next.due - performance.now()));
    else if (this.#quiet !== undefined) this.#plan(COMMAND_TIMEOUT);
    for (const { command } of late) command.reject(new Error('Command timed out'));
  }

  /** Closes the socket when it has been silent for too long. */
  #quietSocket(now: number, late: boolean): QuietSocket | undefined {
    const stream = streamOf(this.connection);
    if (stream === undefined) return undefined;
    const bytes = stream.bytesRead;
    if (stream !== this.#quiet?.stream || bytes !== this.#quiet.bytes) {
      return late ? { stream, bytes, due: now + SOCKET_TIMEOUT } : undefined;
    }
    if (now < this.#quiet.due) return this.#quiet;
    stream.destroy(new Error('Redis sent nothing for five seconds while commands waited'));
    return undefined;
  }

  /** Their arguments can be large. */
  #forgetAnswered(): void {
    while (this.#waiting[this.#first]?.command.isResolved === true) {
      this.#waiting[this.#first] = undefined;
      this.#first += 1;
    }
    if (this.#first < MOST_FORGOTTEN) return;
    this.#waiting.splice(0, this.#first);
    this.#first = 0;
  }
}

/** Milliseconds without a byte from a master, while calls wait, after which it counts as cut off. */
const LONGEST_SILENCE = 2 * COMMAND_TIMEOUT;

/** One hash tag whose last call got no answer. */
interface Quiet {
  readonly since: number;
  readonly connection: Redis | undefined;
  readonly bytes: number;
}

/**
 * Knows for each hash tag whether its master is silent. A late answer to one call is no silence while other bytes come: this
 * node may have asked for too much, or its event loop may have been busy. Calls that succeed cost nothing here.
 */
export class Silence {
  readonly #quiet = new Map<string, Quiet>();

  /** @param connectionOf the connection on which commands for a key go */
  constructor(private readonly connectionOf: (key: string) => Redis | undefined) {}

  /** To be called when a call for a key, begun at `since`, failed without an answer. A key without a hash tag says nothing. */
  onUnanswered(key: string, since: number): void {
    if (!key.includes('{')) return;
    const connection = this.connectionOf(key);
    const bytes = bytesOf(connection);
    const tag = tagOf(key);
    // Bytes that arrived while the event loop was busy are read before this runs.
    setImmediate(() => {
      if (this.#heard({ since, connection, bytes }, key)) this.#quiet.delete(tag);
      else if (!this.#quiet.has(tag)) this.#quiet.set(tag, { since, connection, bytes });
    });
  }

  /** Milliseconds for which the master of a key has been silent; `undefined` while it is heard. */
  of(key: string): number | undefined {
    const tag = tagOf(key);
    const quiet = this.#quiet.get(tag);
    if (quiet === undefined) return undefined;
    if (this.#heard(quiet, key)) {
      this.#quiet.delete(tag);
      return undefined;
    }
    const ms = performance.now() - quiet.since;
    return ms < LONGEST_SILENCE ? undefined : ms;
  }

  /** Whether a connection has been silent for as long, while calls waited. */
  isSilent(connection: Redis): boolean {
    const since = performance.now() - LONGEST_SILENCE;
    for (const quiet of this.#quiet.values()) {
      if (quiet.connection === connection && quiet.since <= since && bytesOf(connection) === quiet.bytes) return true;
    }
    return false;
  }

  /** Whether something came since then, on that connection or by a new one. */
  #heard({ connection, bytes }: Quiet, key: string): boolean {
    const present = this.connectionOf(key);
    if (present?.status !== 'ready') return false;
    return present !== connection || bytesOf(present) !== bytes;
  }
}

function bytesOf(connection: Redis | undefined): number {
  return streamOf(connection)?.bytesRead ?? 0;
}

/** Unlike what the types say, there is none before the first connect. */
function streamOf(connection: Pick<Redis, 'stream'> | undefined): Redis['stream'] | undefined {
  return connection?.stream;
}

function tagOf(key: string): string {
  return key.slice(key.indexOf('{') + 1, key.indexOf('}'));
}
