import { setTimeout as delay } from 'node:timers/promises';
import { injectable } from 'inversify';
import { SseEndpoint, type ResetClient, type ResumableSource, type SseEvent } from '../../src/index.js';

/** Entries that are kept for a board: few, so that a short absence is enough for a gap. */
export const BOARD_HISTORY = 10;
const MOST_BOARDS = 1_000;
const ANSWER =
  `A streamed answer belongs to its key and not to one request. The node that got the first request runs it.
  Each token goes into the log, in order, with an id. A page that is reloaded sends the last id that it has seen.
  It gets the tokens after that id and then what is new. A second tab follows the same run. No token is computed twice,
  and no token is lost, even though the page that asked was away for a while.`.split(/\s+/);

/** The streams that the scenarios of the tour need beyond those of the contract. */
@injectable()
export class TourController {
  /** Scores by board. An application would ask its database. */
  readonly #scores = new Map<string, number>();

  /** A board of one visitor, whose history is short. */
  @SseEndpoint('/tour/board/:clientId', {
    methods: ['GET'],
    topics: ({ params }) => [boardTopic(params['clientId'] ?? '')],
    onReset: 'snapshot',
  })
  board(): void {
    // Its events are publications.
  }

  /** What a client gets instead of entries that are no longer kept. */
  snapshot(client: ResetClient): void {
    client.send('snapshot', { score: this.#scores.get(client.id) ?? 0 });
  }

  /** Words of an answer, as a language model gives them: one run for all followers and reloads. */
  @SseEndpoint('/tour/answers/:question', { resumable: ({ params }) => `tour/${params['question'] ?? ''}` })
  async *answer({ signal }: ResumableSource): AsyncGenerator<SseEvent> {
    for (const [n, word] of ANSWER.entries()) {
      if (signal.aborted) return;
      yield { event: 'word', data: { n, word } };
      await delay(60, undefined, { signal });
    }
  }

  /** Adds a point to a board and returns its score. */
  addPoint(clientId: string): number {
    const score = (this.#scores.get(clientId) ?? 0) + 1;
    // The newest board stands last, and the oldest one goes.
    this.#scores.delete(clientId);
    this.#scores.set(clientId, score);
    const [oldest] = this.#scores.keys();
    if (this.#scores.size > MOST_BOARDS && oldest !== undefined) this.#scores.delete(oldest);
    return score;
  }
}

/** The topic of a visitor's board. */
export function boardTopic(clientId: string): string {
  return `tour/board/${clientId}`;
}
