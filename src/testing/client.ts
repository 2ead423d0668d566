import {
  type AllEvents,
  type AnyEvent,
  connect,
  type ConnectOptions,
  type EventMap,
  type EventName,
  type Gap,
  type ReceivedEvent,
  type SseStream,
} from '../client/index.js';

/**
 * A client for tests: the client of `distributed-sse/client` with what arrived, to be asked for. It comes back and resumes as in
 * a browser.
 */
export class TestClient<Events extends object = EventMap> {
  /** Every event so far, the library's included. */
  readonly events: AnyEvent<Events>[] = [];
  /** Every gap so far. */
  readonly gaps: Gap[] = [];
  /** How many events of a name {@link next} has given. */
  readonly #given = new Map<string, number>();
  readonly #waiting = new Set<() => void>();

  /** A client over real sockets. @param url absolute */
  static connect<Events extends object = EventMap>(url: string | URL, options?: ConnectOptions): TestClient<Events> {
    return new TestClient(connect<Events>(url, options));
  }

  constructor(readonly stream: SseStream<Events>) {
    stream.onGap(gap => this.gaps.push(gap));
    stream.onState(() => this.#wake());
    void this.#read();
  }

  /**
   * The next event of a name: the first call gives the first one, also one that came before. Rejects with an Error when the
   * stream has ended for good, or after `timeout` milliseconds. Default 5000.
   */
  async next<Name extends EventName<Events>>(
    name: Name,
    timeout = 5_000,
  ): Promise<ReceivedEvent<Name, AllEvents<Events>[Name]>> {
    const given = this.#given.get(name) ?? 0;
    this.#given.set(name, given + 1);
    const find = (): AnyEvent<Events> | undefined => this.events.filter(({ event }) => event === name)[given];
    await this.#until(() => find() !== undefined, `event ${name}`, timeout);
    // Found by this name.
    return find() as unknown as ReceivedEvent<Name, AllEvents<Events>[Name]>;
  }

  /** Resolves when the stream is open. Rejects as {@link next} does. */
  async opened(timeout = 5_000): Promise<void> {
    await this.#until(() => this.stream.state.kind === 'open', 'the stream to open', timeout);
  }

  /** Breaks the connection and resolves when the next one is open. */
  async reconnect(timeout?: number): Promise<void> {
    this.stream.reconnect();
    await Promise.resolve();
    await this.#until(() => this.stream.state.kind !== 'open', 'the connection to end', timeout ?? 5_000);
    await this.opened(timeout);
  }

  /** Ends the stream for good. */
  close(): void {
    this.stream.close();
  }

  async #read(): Promise<void> {
    try {
      for await (const event of this.stream) {
        this.events.push(event);
        this.#wake();
      }
    } catch {
      // The stream was refused; its state says so, and what waits for an event rejects.
    }
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  async #until(condition: () => boolean, what: string, timeout: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let wake = (): void => undefined;
    const fail = (): Error =>
      new Error(
        `waited ${timeout} ms for ${what}; the state is ${JSON.stringify(this.stream.state)}, ` +
          `the events are ${this.events.map(({ event }) => event).join(', ') || 'none'}`,
      );
    try {
      await new Promise<void>((resolve, reject) => {
        wake = (): void => {
          if (condition()) resolve();
          // Its last events are read a little later than its state.
          else if (this.stream.state.kind === 'closed') setTimeout(() => (condition() ? resolve() : reject(fail())));
        };
        this.#waiting.add(wake);
        timer = setTimeout(() => reject(fail()), timeout);
        wake();
      });
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(wake);
    }
  }
}
