/** better-sse on plain `node:http`: it keeps nothing itself, so one keeps events by hand and sends a batch of them. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { peer } from '../peer.js';
import { benchData } from './bench-event.js';
import { KeptEvents } from './kept-events.js';
import { serve } from './serve.js';

interface EventBuffer {
  push(data: unknown, event: string, id: string): unknown;
}

interface Session {
  readonly lastId: string;
  batch(fill: (buffer: EventBuffer) => void): Promise<void>;
}

/** The part of its interface that is used here. */
interface BetterSse {
  createSession(request: IncomingMessage, response: ServerResponse): Promise<Session>;
  createChannel(): {
    register(session: Session): void;
    broadcast(data: unknown, event: string, options: { readonly eventId: string }): void;
  };
}

const { createSession, createChannel } = (await import(peer('better-sse'))) as BetterSse;
const channel = createChannel();
const kept = new KeptEvents<{ readonly id: string; readonly data: unknown }>();

serve({
  onRequest: (request, response) => {
    void createSession(request, response).then(session => {
      const missed = kept.after(session.lastId);
      if (missed.length > 0) {
        void session.batch(buffer => {
          for (const { id, data } of missed) buffer.push(data, 'tick', id);
        });
      }
      channel.register(session);
    });
  },
  broadcast: () => {
    const { id, data } = kept.add(number => ({ id: String(number), data: benchData(number) }));
    channel.broadcast(data, 'tick', { eventId: id });
  },
});
