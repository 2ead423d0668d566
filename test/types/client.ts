/** Compiled and never run: each `@ts-expect-error` fails the build when the compiler lets the line pass. */
import { connect, type SseStream } from '../../src/client/index.js';
import { useSse } from '../../src/react/index.js';

interface Events {
  note: { text: string };
  tick: number;
}

export async function typed(stream: SseStream<Events>): Promise<string> {
  stream.on('note', ({ text }) => text.length);
  stream.on('tick', (at, { lastEventId }) => [at.toFixed(), lastEventId?.length]);
  stream.on('connected', ({ connectionId, nodeId }) => connectionId + nodeId);
  stream.on('sse.closed', ({ reason }) => reason.length);
  stream.onGap(({ topics, reason }) => [...topics, reason]);

  // @ts-expect-error no such event
  stream.on('notes', () => undefined);
  // @ts-expect-error wrong data
  stream.on('tick', (data: string) => data.length);
  // @ts-expect-error no such event
  stream.once('tock', () => undefined);

  for await (const { event, data } of stream) {
    if (event === 'note') return data.text;
    if (event === 'tick') return data.toFixed();
    // @ts-expect-error no such event
    if (event === 'tock') return '';
  }
  const { reason, status } = await stream.closed;
  return `${reason} ${status ?? ''}`;
}

export function untyped(): void {
  const stream = connect('/sse/me', { headers: async () => ({ authorization: '' }), share: 'user', resume: 'session' });
  stream.on('anything', data => data);
  stream.on('sse.reset', ({ resumedFrom }) => resumedFrom.length);
  // @ts-expect-error a number of milliseconds, or false
  connect('/sse/me', { silence: true });
}

export function hook(): string {
  const { state } = useSse<Events>('/sse/me', { note: ({ text }) => text, connected: ({ nodeId }) => nodeId });
  // @ts-expect-error no such event
  useSse<Events>('/sse/me', { notes: () => undefined });
  return state.kind === 'waiting' ? state.reason : state.kind;
}
