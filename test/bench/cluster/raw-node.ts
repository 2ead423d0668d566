/** A process with ioredis alone: publishes, and receives publications of others. */
import { Redis } from 'ioredis';
import { benchFrame } from '../servers/bench-event.js';
import { Arrivals, offerWork } from './work.js';

const [EVENTS, QUESTIONS, ANSWERS] = ['raw:events', 'raw:questions', 'raw:answers'];
// About as long as what a registration keeps of a connection.
const VALUE = 'x'.repeat(48);

const url = process.env['SSE_REDIS_URL'] ?? '';
const redis = new Redis(url);
const subscriber = new Redis(url);
const arrivals = new Arrivals();
const asked = new Map<string, () => void>();
subscriber.on('messageBuffer', (channel: Buffer, message: Buffer) => {
  switch (channel.toString('latin1')) {
    case EVENTS:
      arrivals.note();
      return;
    case QUESTIONS: {
      const id = message.toString('latin1', 0, message.indexOf(' '));
      void redis.publish(ANSWERS, id);
      return;
    }
    case ANSWERS: {
      const id = message.toString('latin1');
      asked.get(id)?.();
      asked.delete(id);
    }
  }
});
// Only the receiver subscribes to questions and events, only the sender to answers.
const channels = process.env['HEARS'] === 'events' ? [EVENTS, QUESTIONS] : [ANSWERS];
await subscriber.subscribe(...channels);

offerWork(
  {
    publish: number => redis.publish(EVENTS, benchFrame(number)),
    'round-trip': async number => {
      const answered = new Promise<void>(resolve => asked.set(String(number), resolve));
      const question = Buffer.concat([Buffer.from(`${number} `), benchFrame(number)]);
      await Promise.all([redis.publish(QUESTIONS, question), answered]);
    },
    set: number => redis.set(`raw:registered-${number}`, VALUE),
  },
  arrivals,
);
console.log('listening on 0');
