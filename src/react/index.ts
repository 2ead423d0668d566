import { useEffect, useRef, useState } from 'react';
import {
  type AllEvents,
  connect,
  type ConnectOptions,
  type EventMap,
  type EventName,
  type Gap,
  type Listener,
  type ReceivedEvent,
  type SseStream,
  type StreamState,
} from '../client/index.js';

/**
 * What a component does with the events of a stream. The functions may change with every render, without a new connection; the
 * names count from the render that connects.
 */
export type Handlers<Events extends object = EventMap> = {
  readonly [Name in EventName<Events>]?: (
    data: AllEvents<Events>[Name],
    event: ReceivedEvent<Name, AllEvents<Events>[Name]>,
  ) => unknown;
};

/** Settings of {@link useSse}. */
export interface UseSseOptions extends ConnectOptions {
  /** Called when entries are missing. */
  readonly onGap?: (gap: Gap) => void;
}

/** What {@link useSse} gives to a component. */
export interface SseHook<Events extends object = EventMap> {
  /** Renders the component again when it changes. */
  readonly state: StreamState;
  /** `undefined` before the first effect has run, and without a URL. */
  readonly stream: SseStream<Events> | undefined;
}

const IDLE: StreamState = { kind: 'connecting', attempt: 0 };

/**
 * A stream for as long as the component is mounted. It begins anew when the URL changes; the options count from then on. Events
 * render nothing by themselves: a handler sets the state that they change.
 * @param url `undefined` or `null` for no stream, for example before the user has signed in
 */
export function useSse<Events extends object = EventMap>(
  url: string | null | undefined,
  handlers: Handlers<Events> = {},
  options: UseSseOptions = {},
): SseHook<Events> {
  const latest = useRef({ handlers, options });
  const [hook, setHook] = useState<SseHook<Events>>({ state: IDLE, stream: undefined });
  useEffect(() => {
    latest.current = { handlers, options };
  });
  useEffect(() => {
    if (url === null || url === undefined) return undefined;
    const stream = connect<Events>(url, latest.current.options);
    stream.onState(state => setHook({ state, stream }));
    for (const name of Object.keys(latest.current.handlers) as EventName<Events>[]) {
      const listener = (data: never, event: never): unknown => latest.current.handlers[name]?.(data, event);
      // The stream calls it with the data of this name.
      stream.on(name, listener as Listener);
    }
    stream.onGap(gap => latest.current.options.onGap?.(gap));
    setHook({ state: stream.state, stream });
    return () => stream.close();
  }, [url]);
  return hook;
}
