import { Connection, type ConnectionSettings, type Feed, type FeedListener, isLibraryEvent } from './connection.js';
import { compareIds } from './cursor.js';
import type { Block, Handled, StreamState } from './options.js';
import { scope } from './page.js';

/** What the tabs of one stream send each other. Only the leader sends `state` and `block`. */
type Message =
  /** A tab has joined, or has stayed behind: the leader answers with its state and goes back to `id` if need be. */
  | { readonly kind: 'hello' | 'behind'; readonly id: string | undefined }
  /** `id` is the position of the leader's connection. */
  | { readonly kind: 'state'; readonly state: StreamState; readonly id: string | undefined }
  /** `before` is the position of the leader's connection before this block. */
  | { readonly kind: 'block'; readonly block: Block; readonly before: string | undefined }
  | { readonly kind: 'wake' | 'restart' };

/** How long the leader of a stream that has ended keeps the lock. */
const UNLOCK_MS = 1_000;

/** How long a tab waits when it leads after another one. */
const HANDOVER_MS = 100;

/** 204 may mean: so many takeovers that the server, which still waits for former leaders, takes them for a fight. */
const GRACE = 3;

/** Whether tabs can share a stream here: a secure page of a browser, or a worker. */
export function canShare(): boolean {
  return scope.BroadcastChannel !== undefined && scope.navigator?.locks !== undefined;
}

/**
 * One connection for all tabs of a name. The tab that holds a lock leads: it has the connection and sends the others what
 * arrives. When it ends, the browser gives the lock to another tab, which resumes after its own last id.
 *
 * Each tab knows its own position. A block says at which position it follows, so that a tab notices that it missed some, and
 * asks the leader to connect anew from there; the other tabs drop what they have already.
 */
export class SharedFeed implements Feed {
  readonly #silence: number | false;
  #channel: BroadcastChannel | undefined;
  #waiting = new AbortController();
  #connection: Connection | undefined;
  #unlock: () => void = () => undefined;
  /** Leader: position of the connection before the next block, and the state. */
  #position: string | undefined;
  #state: StreamState = { kind: 'connecting', attempt: 0 };
  /** Whether another tab has led. */
  #followed = false;
  /** Follower: the position from which it has asked the leader to go on. */
  #asked: string | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heardAt = 0;

  /** @param position the last id of this tab */
  constructor(
    private readonly name: string,
    private readonly settings: ConnectionSettings,
    private readonly listener: FeedListener,
    private readonly position: () => string | undefined,
  ) {
    this.#silence = settings.options.silence ?? 75_000;
    this.resume();
  }

  restart(): void {
    if (this.#connection === undefined) this.#post({ kind: 'restart' });
    else this.#connection.restart();
  }

  wake(): void {
    if (this.#connection === undefined) this.#post({ kind: 'wake' });
    else this.#connection.wake();
    this.#watch();
  }

  /** The leader's matter alone. */
  onNetwork(): void {
    this.#connection?.onNetwork();
  }

  /** Leaves the others, so that one of them leads. */
  pause(reason: 'hidden' | 'cached'): void {
    this.close();
    this.listener.onState({ kind: 'paused', reason });
  }

  resume(): void {
    this.#channel = new BroadcastChannel(this.name);
    this.#channel.onmessage = ({ data }) => this.#onMessage(data as Message);
    this.#waiting = new AbortController();
    void this.#lock({ signal: this.#waiting.signal });
    this.#post({ kind: 'hello', id: this.position() });
    this.#onHeard();
  }

  close(): void {
    this.#waiting.abort();
    this.#stopLeading();
    this.#channel?.close();
    this.#channel = undefined;
  }

  async #lock(options: LockOptions): Promise<void> {
    const channel = this.#channel;
    try {
      await navigator.locks.request(this.name, options, () => this.#lead(channel));
    } catch (error) {
      if (channel !== this.#channel) return;
      if ((error as Error).name !== 'AbortError') {
        // This page may not use locks, so it has a connection of its own.
        void this.#lead(channel);
      } else if (this.#connection !== undefined) {
        // Another tab took the lock because it heard nothing.
        this.#stopLeading();
        void this.#lock({ signal: this.#waiting.signal });
      }
    }
  }

  async #lead(channel: BroadcastChannel | undefined): Promise<void> {
    // The server learns first that the former leader is gone; else this would be one more takeover.
    if (this.#followed) await new Promise(resolve => setTimeout(resolve, HANDOVER_MS));
    if (channel === undefined || channel !== this.#channel) return;
    this.#position = this.position();
    this.#connection = new Connection(
      this.settings,
      { onBlock: block => this.#onBlock(block), onState: state => this.#onState(state) },
      this.#position,
      this.#followed ? -GRACE : 0,
    );
    this.#watch();
    await new Promise<void>(resolve => (this.#unlock = resolve));
  }

  #stopLeading(): void {
    clearTimeout(this.#timer);
    this.#connection?.close();
    this.#connection = undefined;
    this.#unlock();
  }

  #onBlock(block: Block): Handled {
    this.#post({ kind: 'block', block, before: this.#position });
    this.#position = this.#connection?.lastEventId;
    return this.listener.onBlock(block);
  }

  #onState(state: StreamState): void {
    this.#state = state;
    this.#position = this.#connection?.lastEventId ?? this.#position;
    this.#post({ kind: 'state', state, id: this.#position });
    this.listener.onState(state);
    if (state.kind !== 'closed') return;
    const unlock = this.#unlock;
    this.#unlock = () => undefined;
    this.close();
    // The other tabs hear of the end before one of them can lead.
    setTimeout(unlock, UNLOCK_MS);
  }

  #onMessage(message: Message): void {
    if (this.#connection !== undefined) this.#onRequest(this.#connection, message);
    else if (message.kind === 'state') this.#followState(message);
    else if (message.kind === 'block') this.#follow(message);
  }

  #onRequest(connection: Connection, message: Message): void {
    if (message.kind === 'wake' || message.kind === 'restart') connection[message.kind]();
    if (message.kind === 'hello') this.#post({ kind: 'state', state: this.#state, id: this.#position });
    if (message.kind !== 'hello' && message.kind !== 'behind') return;
    if (message.id !== undefined && isBehind(message.id, connection.lastEventId)) connection.restart(message.id);
  }

  #followState({ state, id }: Message & { readonly kind: 'state' }): void {
    this.#onHeard();
    this.#followed = true;
    this.#asked = undefined;
    const own = this.position();
    // From now on this tab can lead as well.
    if (own === undefined) this.listener.onBlock({ event: 'message', data: undefined, id });
    else if (isBehind(own, id)) this.#askFrom(own);
    this.listener.onState(state);
    if (state.kind === 'closed') this.close();
  }

  #follow({ block, before }: Message & { readonly kind: 'block' }): void {
    this.#onHeard();
    const own = this.position();
    const order = compareIds(own, before) ?? 0;
    // After another epoch has begun, the reset says so.
    if (own !== undefined && (order < 0 || (Number.isNaN(order) && !isLibraryEvent(block.event)))) this.#askFrom(own);
    else if (own !== undefined && block.event === 'connected') this.listener.onBlock({ ...block, id: undefined });
    else this.listener.onBlock(block);
  }

  #askFrom(id: string): void {
    if (this.#asked === id) return;
    this.#asked = id;
    this.#post({ kind: 'behind', id });
  }

  #onHeard(): void {
    this.#heardAt = performance.now();
    this.#watch();
  }

  /** The leader reports itself; a follower that hears nothing for too long becomes the leader. */
  #watch(): void {
    clearTimeout(this.#timer);
    if (this.#silence === false || this.#channel === undefined) return;
    const left = this.#silence - (performance.now() - this.#heardAt);
    if (this.#connection !== undefined) {
      this.#post({ kind: 'state', state: this.#state, id: this.#position });
      this.#timer = setTimeout(() => this.#watch(), this.#silence / 4);
    } else if (left > 0 || scope.document?.visibilityState === 'hidden') {
      // The timers of a hidden page are not reliable.
      this.#timer = setTimeout(() => this.#watch(), Math.max(left, this.#silence / 4));
    } else {
      this.#waiting.abort();
      this.#waiting = new AbortController();
      void this.#lock({ steal: true });
    }
  }

  #post(message: Message): void {
    this.#channel?.postMessage(message);
  }
}

/** Whether a reader at `id` misses entries when the stream goes on after `at`. */
function isBehind(id: string, at: string | undefined): boolean {
  if (at === undefined) return true;
  const order = compareIds(id, at) ?? 0;
  return order < 0 || Number.isNaN(order);
}
