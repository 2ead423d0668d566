/** Compiled and never run: each `@ts-expect-error` fails the build when the compiler lets the line pass. */
import type { SseConnection, SseService } from '../../src/index.js';

interface Events {
  note: { text: string };
  tick: number;
}

// An alias serves as well, and so do the untyped services.
type Aliased = { note: { text: string } };
export const narrowed = (sse: SseService): SseService<Aliased> => sse;

export async function service(sse: SseService<Events>): Promise<void> {
  sse.sendMessage('id', 'note', { text: 'hello' });
  sse.broadcast('tick', 1, { retry: 1000 });
  await sse.sendMessageToConnection('id', 'note', { text: 'hello' }, { ack: 'none' });
  await sse.broadcastToCluster('tick', 1);
  await sse.publish('topic', 'tick', 1, { history: false });

  // @ts-expect-error no such event
  sse.sendMessage('id', 'notes', { text: 'hello' });
  // @ts-expect-error no such event
  sse.broadcast('tock', 1);
  // @ts-expect-error no such event
  await sse.sendMessageToConnection('id', 'message', {});
  // @ts-expect-error no such event
  await sse.broadcastToCluster('', 1);
  // @ts-expect-error no such event
  await sse.publish('topic', 'topic', 1);

  // @ts-expect-error wrong data
  sse.sendMessage('id', 'note', { txt: 'hello' });
  // @ts-expect-error wrong data
  sse.broadcast('tick', '1');
  // @ts-expect-error wrong data
  await sse.sendMessageToConnection('id', 'note', 'hello');
  // @ts-expect-error wrong data
  await sse.broadcastToCluster('tick', undefined);
  // @ts-expect-error wrong data
  await sse.publish('topic', 'tick', { text: 'hello' });
  // @ts-expect-error the log gives published events their id
  await sse.publish('topic', 'tick', 1, { id: 'mine' });
}

export function connection(connection: SseConnection<Events>): void {
  connection.send('tick', 1, { id: 'mine' });
  // @ts-expect-error no such event
  connection.send('tock', 1);
  // @ts-expect-error wrong data
  connection.send('tick', 'one');
}

export function untyped(sse: SseService, connection: SseConnection): void {
  sse.broadcast('anything', { at: 'all' });
  connection.send('anything', undefined);
  // @ts-expect-error a name is text
  sse.broadcast(42, {});
}

export async function receipts(sse: SseService<Events>): Promise<string> {
  const receipt = await sse.sendMessageToConnection('id', 'tick', 1);
  // @ts-expect-error only some outcomes know the node
  receipt.nodeId;
  switch (receipt.outcome) {
    case 'confirmed':
    case 'delivered':
    case 'buffered':
    case 'routed':
      return receipt.nodeId;
    case 'rejected':
      return receipt.code;
    case 'stored':
    case 'not-connected':
    case 'unknown':
    case 'unavailable':
      // @ts-expect-error no node accepted the event
      receipt.nodeId;
      return receipt.outcome;
  }
}
