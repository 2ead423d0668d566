/** better-sse on plain `node:http`: one session per request, one channel for all. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { peer } from '../peer.js';
import { benchData } from './bench-event.js';
import { serve } from './serve.js';

interface Session {
  push(data: unknown, event: string): Promise<unknown>;
}

/** The part of its interface that is used here. */
interface BetterSse {
  createSession(request: IncomingMessage, response: ServerResponse): Promise<Session>;
  createChannel(): {
    register(session: Session): void;
    broadcast(data: unknown, event: string): void;
  };
}

const { createSession, createChannel } = (await import(peer('better-sse'))) as BetterSse;
const channel = createChannel();
const sessions: Session[] = [];
let events = 0;
let sent = 0;

serve({
  onRequest: (request, response) => {
    void createSession(request, response).then(session => {
      channel.register(session);
      sessions.push(session);
    });
  },
  broadcast: () => {
    events += 1;
    channel.broadcast(benchData(events), 'tick');
  },
  send: () => {
    sent += 1;
    void sessions[sent % sessions.length]?.push(benchData(sent), 'tick');
  },
});
