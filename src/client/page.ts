/** What only some programs have: pages have all of it, workers and Node a part. */
export const scope: Partial<
  Pick<typeof globalThis, 'addEventListener' | 'BroadcastChannel' | 'document' | 'location'> & {
    readonly navigator: Partial<Pick<Navigator, 'locks' | 'onLine'>> & { readonly connection?: NetworkInformation };
  }
> = globalThis;

/** What happens to the page that a stream belongs to. */
interface PageListener {
  /** The page is visible again: what waits need not wait any longer. */
  wake(): void;
  /** The network came back, or is another one: an open connection may be dead. */
  onNetwork(): void;
  pause(reason: 'hidden' | 'cached'): void;
  resume(): void;
  /** The page may end without a further event. */
  onLeave(): void;
}

/** The part of the Network Information API that says which network is in use. */
interface NetworkInformation extends EventTarget {
  readonly type?: string;
}

/**
 * Follows the page until the returned function is called. Does nothing outside of browsers; a worker has only the network.
 * @param pauseHidden milliseconds that a hidden page keeps its connection
 */
export function followPage(listener: PageListener, pauseHidden: number | false): () => void {
  const { document } = scope;
  if (scope.addEventListener === undefined) return () => undefined;
  const controller = new AbortController();
  const { signal } = controller;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const off = (): void => {
    clearTimeout(timer);
    controller.abort();
  };
  const on = (target: EventTarget, name: string, act: (event: Event) => void): void => {
    target.addEventListener(name, act, { signal });
  };
  on(globalThis, 'online', () => listener.onNetwork());
  followNetworkType(on, listener);
  if (document === undefined) return off;
  // The back/forward cache takes no page with an open connection.
  on(globalThis, 'pagehide', () => {
    listener.onLeave();
    listener.pause('cached');
  });
  on(globalThis, 'pageshow', event => {
    if ((event as PageTransitionEvent).persisted) listener.resume();
  });
  let paused = false;
  on(document, 'visibilitychange', () => {
    clearTimeout(timer);
    if (document.visibilityState === 'hidden') {
      listener.onLeave();
      if (pauseHidden === false) return;
      timer = setTimeout(() => {
        paused = true;
        listener.pause('hidden');
      }, pauseHidden);
    } else if (paused) {
      paused = false;
      listener.resume();
    } else listener.wake();
  });
  return off;
}

function followNetworkType(
  on: (target: EventTarget, name: string, act: () => void) => void,
  listener: PageListener,
): void {
  const connection = scope.navigator?.connection;
  if (connection === undefined) return;
  let { type } = connection;
  on(connection, 'change', () => {
    if (connection.type === type) return;
    type = connection.type;
    listener.onNetwork();
  });
}
