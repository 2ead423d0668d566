export { confirm } from './confirm.js';
export { connect, type Listener, SseStream } from './stream.js';
export { eventSourceTransport, fetchTransport } from './transports.js';
export type {
  AllEvents,
  AnyEvent,
  Attempt,
  Block,
  ClosedState,
  ConnectOptions,
  EventMap,
  EventName,
  FetchInit,
  Gap,
  Handled,
  LibraryEvents,
  ReceivedEvent,
  RequestBody,
  RequestHeaders,
  StreamEnd,
  StreamState,
  Transport,
  TransportEnd,
} from './options.js';
