type Granted = (lock: unknown) => unknown;

interface WaitingTab {
  readonly granted: Granted;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** Web Locks and BroadcastChannel of a browser whose messages take their time, in order from one tab to another. */
export class FakeTabs {
  #opened = 0;
  readonly #channels = new Set<FakeChannel>();
  readonly #queues = new Map<string, WaitingTab[]>();
  readonly #holders = new Map<string, WaitingTab>();
  readonly #before = ['BroadcastChannel', 'navigator'].map(
    name => [name, Object.getOwnPropertyDescriptor(globalThis, name)] as const,
  );

  /** @param delay milliseconds that the next message takes between two channels, which count from 0 in the order of opening */
  constructor(private readonly delay: (from: number, to: number) => number) {}

  install(): void {
    const open = (name: string): FakeChannel => this.#open(name);
    const channel = function (name: string): FakeChannel {
      return open(name);
    };
    const locks = {
      request: (name: string, options: LockRequest, granted: Granted) => this.#request(name, options, granted),
    };
    Object.defineProperty(globalThis, 'BroadcastChannel', { value: channel, configurable: true });
    Object.defineProperty(globalThis, 'navigator', { value: { locks }, configurable: true });
  }

  uninstall(): void {
    for (const [name, descriptor] of this.#before) {
      if (descriptor === undefined) Reflect.deleteProperty(globalThis, name);
      else Object.defineProperty(globalThis, name, descriptor);
    }
  }

  #open(name: string): FakeChannel {
    const ordinal = (this.#opened += 1) - 1;
    const channel: FakeChannel = new FakeChannel(name, ordinal, message => {
      for (const other of this.#channels) {
        if (other === channel || other.name !== name) continue;
        other.receive(channel, structuredClone(message), this.delay(ordinal, other.ordinal));
      }
    });
    channel.onClose = (): void => void this.#channels.delete(channel);
    this.#channels.add(channel);
    return channel;
  }

  #request(name: string, { signal, steal }: LockRequest, granted: Granted): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const tab = { granted, resolve, reject };
      const queue = this.#queues.get(name) ?? [];
      this.#queues.set(name, queue);
      signal?.addEventListener('abort', () => {
        const at = queue.indexOf(tab);
        if (at < 0) return;
        queue.splice(at, 1);
        reject(new DOMException('given up', 'AbortError'));
      });
      if (steal === true) {
        this.#holders.get(name)?.reject(new DOMException('stolen', 'AbortError'));
        this.#grant(name, tab);
      } else {
        queue.push(tab);
        this.#next(name);
      }
    });
  }

  #next(name: string): void {
    setTimeout(() => {
      const tab = this.#holders.has(name) ? undefined : this.#queues.get(name)?.shift();
      if (tab !== undefined) this.#grant(name, tab);
    });
  }

  #grant(name: string, tab: WaitingTab): void {
    this.#holders.set(name, tab);
    void Promise.resolve(tab.granted({})).then(value => {
      tab.resolve(value);
      if (this.#holders.get(name) !== tab) return;
      this.#holders.delete(name);
      this.#next(name);
    });
  }
}

interface LockRequest {
  readonly signal?: AbortSignal;
  readonly steal?: boolean;
}

class FakeChannel {
  onmessage: ((event: { readonly data: unknown }) => void) | undefined;
  onClose: () => void = () => undefined;
  readonly #last = new Map<FakeChannel, number>();
  #closed = false;

  constructor(
    readonly name: string,
    readonly ordinal: number,
    readonly postMessage: (message: unknown) => void,
  ) {}

  receive(from: FakeChannel, data: unknown, delay: number): void {
    const at = Math.max(Date.now() + delay, this.#last.get(from) ?? 0);
    this.#last.set(from, at);
    setTimeout(() => {
      if (!this.#closed) this.onmessage?.({ data });
    }, at - Date.now());
  }

  close(): void {
    this.#closed = true;
    this.onClose();
  }
}
