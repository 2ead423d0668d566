import { CLUSTER_SCENARIOS } from './cluster-scenarios.js';
import type { Scenario } from './scenario.js';
import { ask, isRecord } from './server.js';

const BIG_EVENT = 'x'.repeat(512 * 1024);
const MOST_BIG_EVENTS = 120;

const takeover: Scenario = {
  id: 'takeover',
  title: 'Two tabs and a takeover',
  lead: 'A connection id names one stream in the whole cluster. When a second tab connects with the same id, it takes over. The first tab is ended with a reason. It does not stay behind as a ghost.',
  needs: 'one process',
  clients: ['Tab A', 'Tab B'],
  steps: [
    'Tab A connects.',
    'The server sends a note to the id.',
    'Tab B connects with the same id.',
    'Tab A gets a last event that says why it ends, and does not come back.',
    'The server sends a second note to the id.',
  ],
  lesson: 'One id has one stream, so a send has one receipt. Give each tab an id of its own when both should stay.',
  code: `@SseEndpoint('/sse/connect/:clientId')
connect(connection: SseConnection) {}

const receipt =
  await sse.sendMessageToConnection(id, 'note', text);
receipt.outcome; // 'delivered'`,
  async run(stage) {
    const [a, b] = [stage.client('Tab A'), stage.client('Tab B')];
    const id = `${stage.visitor}-tabs`;
    await stage.step(async () => {
      a.open(`/sse/connect/${id}`);
      await a.state('open');
      return `${id} is open`;
    });
    await stage.step(async () => {
      const { body } = await stage.ask('POST', `/sse/send/${id}?event=note`, 'to the first tab');
      await a.event('note');
      return `receipt: ${String(body['outcome'])}, tab A has it`;
    });
    await stage.step(async () => {
      b.open(`/sse/connect/${id}`);
      await b.state('open');
      return 'tab B is open, with a newer fencing token';
    });
    await stage.step(async () => {
      const state = await a.state('closed');
      return `sse.closed: ${state.kind === 'closed' ? state.reason : ''}`;
    });
    await stage.step(async () => {
      const { body } = await stage.ask('POST', `/sse/send/${id}?event=note`, 'to the second tab');
      await b.event('note');
      return `receipt: ${String(body['outcome'])}, only tab B has it`;
    });
  },
};

const resume: Scenario = {
  id: 'resume',
  title: 'A stream is cut and resumes',
  lead: 'Networks, proxies and deploys end streams all the time. The client comes back by itself with the last id that it has seen, and gets what was published while it was away.',
  needs: 'one process',
  clients: ['Reader'],
  steps: [
    'A reader follows a topic, and three entries are published.',
    'The server ends the stream.',
    'Three more entries are published while the reader is away.',
    'The reader comes back with its last id.',
    'It has every entry once and in order.',
  ],
  lesson:
    'Publications are kept in an ordered log. An id is a position in that log, and every node can resume from it.',
  code: `// On the server: kept, with an id.
await sse.publish('news', 'entry', { n });

// In the page: comes back and resumes.
const stream = connect('/sse/connect/me?topics=news');
stream.on('entry', show);`,
  async run(stage) {
    const reader = stage.client('Reader');
    const id = `${stage.visitor}-reader`;
    const topic = `tour/news/${stage.visitor}-${Date.now()}`;
    await stage.step(async () => {
      reader.open(`/sse/connect/${id}?topics=${encodeURIComponent(topic)}`);
      await reader.state('open');
      await stage.publish(topic, 1);
      await reader.event('entry', 2);
      return `entries 1 to 3 arrived; last id ${reader.lastEventId ?? ''}`;
    });
    await stage.step(async () => {
      await stage.ask('DELETE', `/sse/connections/${id}`);
      await reader.event('sse.closed');
      return { text: 'sse.closed: closed. This reason lets a client come back.', tone: 'warn' };
    });
    await stage.step(async () => {
      await stage.publish(topic, 4);
      return 'entries 4 to 6 are in the log';
    });
    await stage.step(async () => {
      await reader.event('connected', 1);
      return 'connected anew, without a line of code in the page';
    });
    await stage.step(async () => {
      await reader.event('entry', 5);
      return `${reader.count('entry')} entries, ${reader.count('sse.reset')} gaps`;
    });
  },
};

const slow: Scenario = {
  id: 'slow',
  title: 'A slow client',
  lead: 'A client that does not read must cost neither the memory of the server nor the time of others. Its events wait in a send buffer with a bound. When the buffer is full, only this client is disconnected.',
  needs: 'one process',
  clients: ['Slow client', 'Quick client'],
  steps: [
    'Both connect. The slow one is a client in the server, since a browser would read ahead.',
    'The server sends large events to the slow client until they no longer leave the server.',
    'It goes on until the send buffer is full.',
    'The quick client gets a note meanwhile.',
  ],
  lesson:
    'Receipts say the truth: delivered, then buffered, then rejected. The bound, sendBuffer.maxBytes, is 4 MiB unless set.',
  code: `sseModule({
  sendBuffer: {
    maxBytes: 4_194_304, // per connection
    // or 'drop-oldest', 'drop-newest'
    policy: 'disconnect',
  },
});`,
  async run(stage) {
    const [lazy, quick] = [stage.client('Slow client'), stage.client('Quick client')];
    const [lazyId, quickId] = [`${stage.visitor}-slow`, `${stage.visitor}-quick`];
    // In a cluster all of it happens on node a, so that no large event takes the way through Redis.
    await stage.step(async () => {
      quick.open(`/sse/connect/${quickId}?node=a`);
      await quick.state('open');
      const { body } = await stage.ask('POST', `/tour/slow/${lazyId}?node=a`);
      lazy.showState('open, not reading', 'warn');
      lazy.note(`connected to ${String(body['nodeId'])}`, 'idle');
      return 'the slow one has read its first event, and nothing since';
    });
    const flood = async (until: (outcome: string) => boolean): Promise<[sent: number, outcome: string]> => {
      for (let sent = 1; sent <= MOST_BIG_EVENTS; sent += 1) {
        stage.signal.throwIfAborted();
        const { body, status } = await ask('POST', `/sse/send/${lazyId}?event=big&node=a`, BIG_EVENT);
        const outcome = outcomeOf(body) ?? String(status);
        lazy.note(outcome, { delivered: 'good', buffered: 'warn' }[outcome] ?? 'bad');
        if (until(outcome)) return [sent, outcome];
      }
      throw new Error('the sockets took everything: they hold more than this scenario sends');
    };
    await stage.step(async () => {
      const [sent] = await flood(outcome => outcome !== 'delivered');
      const text = `${sent - 1} events of 512 KiB filled the sockets; the next one is buffered`;
      return { text, tone: 'warn' };
    });
    await stage.step(async () => {
      const [, outcome] = await flood(each => each !== 'delivered' && each !== 'buffered');
      lazy.showState('closed: slow', 'bad');
      return { text: `receipt: ${outcome}. The server let go of the connection and its bytes.`, tone: 'bad' };
    });
    await stage.step(async () => {
      const { body } = await stage.ask('POST', `/sse/send/${quickId}?event=note&node=a`, 'still quick');
      await quick.event('note');
      return `receipt: ${String(body['outcome'])} in ${Math.round(Number(body['ms']) * 10) / 10} ms`;
    });
  },
};

const gap: Scenario = {
  id: 'gap',
  title: 'A gap and its snapshot',
  lead: 'History is bounded, so a client can be away for too long. Then it must know that entries are missing, before it reads on. It gets one event that says so, and what it needs instead: a snapshot.',
  needs: 'one process',
  clients: ['Scoreboard'],
  steps: [
    'A scoreboard connects and gets three points.',
    'It goes away. Its page keeps the last id.',
    '250 points are made. The log of this topic keeps few of them.',
    'It comes back with its last id. The first event is sse.reset.',
    'A hook of the application sends a snapshot, and the kept points follow.',
  ],
  lesson:
    'A client that missed nothing never gets sse.reset. A client that missed something always does, before anything that follows.',
  code: `@SseEndpoint('/board/:clientId', {
  topics: ['points'],
  onReset: 'snapshot',
})
board() {}

snapshot(client: ResetClient) {
  const score = this.scores.get(client.id);
  client.send('snapshot', { score });
}`,
  async run(stage) {
    const board = stage.client('Scoreboard');
    // Points and snapshot are kept in the memory of one process, so in a cluster both go to node a.
    const id = `${stage.visitor}-${Date.now()}`;
    const path = `/tour/board/${id}?node=a`;
    const points = `/tour/points/${id}?node=a&points=`;
    await stage.step(async () => {
      board.open(path);
      await board.state('open');
      await stage.ask('POST', `${points}3`);
      await board.event('point', 2);
      return 'the score is 3';
    });
    const { lastEventId } = board;
    await stage.step(() => {
      board.close();
      return { text: `its last id is ${lastEventId ?? ''}`, tone: 'warn' };
    });
    await stage.step(async () => {
      const { body } = await stage.ask('POST', `${points}250`);
      return `the score is ${String(body['score'])}; most entries are no longer kept`;
    });
    await stage.step(async () => {
      board.open(path, lastEventId === undefined ? {} : { lastEventId });
      const { data } = await board.event('sse.reset');
      return { text: `sse.reset: ${isRecord(data) ? String(data['reason']) : ''}`, tone: 'warn' };
    });
    await stage.step(async () => {
      const { data } = await board.event('snapshot');
      await board.event('point', 0, point => isRecord(point.data) && point.data['score'] === 253);
      const score = isRecord(data) ? String(data['score']) : '';
      return `the snapshot says ${score}, and ${board.count('point') - 3} kept points follow`;
    });
  },
};

const mailbox: Scenario = {
  id: 'mailbox',
  title: 'A mailbox for a client that is away',
  lead: 'A direct send to a client that is not connected usually ends with not-connected. A durable send waits in the mailbox of the client instead, and arrives when the client comes back.',
  needs: 'one process',
  clients: ['Recipient'],
  steps: [
    'The server sends to a client that is not connected.',
    'It sends the same as durable, twice.',
    'The client connects.',
    'It gets its mail, in order and once.',
  ],
  lesson: 'Every receipt says what is known: not-connected is certain, and so is stored.',
  code: `sseModule({ mailbox: { enabled: true } });

const receipt = await sse.sendMessageToConnection(
  id, 'mail', text, { durable: true },
);
receipt.outcome; // 'stored'`,
  async run(stage) {
    const recipient = stage.client('Recipient');
    const id = `${stage.visitor}-mail-${Date.now()}`;
    await stage.step(async () => {
      const { body } = await ask('POST', `/sse/send/${id}?event=mail`, 'not durable');
      return { text: `receipt: ${outcomeOf(body) ?? ''}. Certainly not sent.`, tone: 'bad' };
    });
    await stage.step(async () => {
      const first = await stage.ask('POST', `/tour/mailbox/${id}?node=a`, 'first letter');
      const second = await stage.ask('POST', `/tour/mailbox/${id}?node=a`, 'second letter');
      return `receipts: ${[first, second].map(({ body }) => String(body['outcome'])).join(', ')}`;
    });
    await stage.step(async () => {
      recipient.open(`/tour/mail/${id}?node=a`);
      await recipient.state('open');
      return 'connected, for the first time';
    });
    await stage.step(async () => {
      await recipient.event('mail', 1);
      return `${recipient.count('mail')} letters`;
    });
  },
};

const ANSWER_KEY = 'tour.answer';

const answer: Scenario = {
  id: 'answer',
  title: 'A streamed answer survives a reload',
  lead: 'An answer that a model streams word by word should not begin anew when the page is reloaded. Here the source runs once in the cluster. Any number of pages follow it, from the start or from where they were.',
  needs: 'one process',
  clients: ['Page', 'Second follower'],
  steps: [
    'The page asks a question, and words begin to arrive.',
    'This page is reloaded in the middle of the answer.',
    'After the reload the page goes on after its last word.',
    'A second follower gets the same answer from its start.',
    'The answer is complete, and the source ran once.',
  ],
  lesson: 'The last event says completed, and a client that has everything is not sent through the source again.',
  code: `@SseEndpoint('/answers/:id', {
  resumable: ({ params }) => params.id,
})
async *answer({ signal }, { params }) {
  yield* model.tokens(params.id, { signal });
}

// In the page:
connect('/answers/42', { resume: 'session' });`,
  async run(stage) {
    const [page, second] = [stage.client('Page'), stage.client('Second follower')];
    const kept = parseKept(sessionStorage.getItem(ANSWER_KEY));
    sessionStorage.removeItem(ANSWER_KEY);
    const question = kept?.question ?? `${stage.visitor}-${Date.now()}`;
    const path = `/tour/answers/${question}`;
    const text = kept?.words ?? [];
    const collect = (): void => page.open(path, kept === undefined ? {} : { lastEventId: kept.lastEventId });
    await stage.step(async () => {
      if (kept !== undefined) return `${text.length} words had arrived before the reload`;
      collect();
      await page.event('word', 11);
      return '12 words so far';
    });
    await stage.step(async () => {
      if (kept !== undefined) return 'done: this is a new page';
      const { lastEventId = '' } = page;
      const words = Array.from({ length: page.count('word') }, (_, n) => n);
      sessionStorage.setItem(ANSWER_KEY, JSON.stringify({ question, words, lastEventId }));
      await stage.pause(600);
      location.reload();
      return new Promise<never>(() => undefined);
    });
    let first: unknown;
    await stage.step(async () => {
      collect();
      const event = await page.event('word');
      first = isRecord(event.data) ? event.data['n'] : undefined;
      return `the first word of the new page is number ${Number(first) + 1}`;
    });
    await stage.step(async () => {
      second.open(path);
      await second.event('word', text.length);
      return 'it has the words from number 1 on';
    });
    await stage.step(async () => {
      await Promise.all([page.state('closed'), second.state('closed')]);
      const total = text.length + page.count('word');
      return `${total} words on the page, ${second.count('word')} at the second follower, none twice`;
    });
  },
};

/** All scenarios in the order of the tour. */
export const SCENARIOS: readonly Scenario[] = [takeover, resume, slow, gap, mailbox, answer, ...CLUSTER_SCENARIOS];

/** The scenario that a reload has interrupted, if there is one. */
export function interruptedScenario(): string | undefined {
  return sessionStorage.getItem(ANSWER_KEY) === null ? undefined : answer.id;
}

function parseKept(
  text: string | null,
): { readonly question: string; readonly words: readonly unknown[]; readonly lastEventId: string } | undefined {
  if (text === null) return undefined;
  const { question, words, lastEventId } = JSON.parse(text) as Record<string, unknown>;
  if (typeof question !== 'string' || typeof lastEventId !== 'string' || !Array.isArray(words)) return undefined;
  return { question, words, lastEventId };
}

function outcomeOf(body: Readonly<Record<string, unknown>>): string | undefined {
  const receipt = isRecord(body['receipt']) ? body['receipt'] : body;
  return typeof receipt['outcome'] === 'string' ? receipt['outcome'] : undefined;
}
