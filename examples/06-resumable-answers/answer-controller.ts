import { setTimeout as delay } from 'node:timers/promises';
import { injectable } from 'inversify';
import { SseEndpoint, type ResumableSource, type SseEvent, type SseRequest } from '../../src/index.js';

const WORDS = 'the quick brown fox jumps over the lazy dog and thinks about what to say next '.split(' ');

/** Streams answers word by word, as a language model does; a reload or another node goes on where the reader was. */
@injectable()
export class AnswerController {
  @SseEndpoint('/answers/:question', { resumable: ({ params }) => params['question'] ?? '' })
  async *answer({ signal }: ResumableSource, { query }: SseRequest): AsyncGenerator<SseEvent> {
    const count = Number(query['words'] ?? 200);
    const pause = Number(query['pause'] ?? 50);
    for (let n = 0; n < count && !signal.aborted; n += 1) {
      yield { event: 'word', data: { n, word: WORDS[n % WORDS.length] } };
      if (pause > 0) await delay(pause, undefined, { signal });
    }
  }
}
