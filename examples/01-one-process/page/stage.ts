import { element, setText } from '../../../src/console/page/dom.js';
import { messageOf } from '../../../src/console/page/format.js';
import { Lane } from './lane.js';
import type { Scenario } from './scenario.js';
import { ask, type Answer, errorText } from './server.js';

/** How a step ended. Text alone is a step that went well. */
export type StepResult = string | { readonly text: string; readonly tone: 'good' | 'warn' | 'bad' };

const PACE_MS = 600;
const MOST_PATIENCE_MS = 40_000;
/** Tries of a request, and milliseconds between them. */
const TRIES = 5;
const RETRY_MS = 1_000;

/** A run of a scenario: it does its steps one after the other and shows what each of them gave. */
export class Stage {
  readonly #lanes: ReadonlyMap<string, Lane>;
  readonly #steps: readonly HTMLElement[];
  readonly #left = new AbortController();
  readonly #undo: (() => void)[] = [];
  #at = 0;

  /**
   * @param visitor in the ids of connections, so that visitors do not take over each other's streams
   * @param pace how much of the usual time passes between two steps; 0: none
   */
  constructor(
    scenario: Scenario,
    readonly visitor: string,
    private readonly pace: number,
    lanesView: HTMLElement,
    stepsView: HTMLElement,
  ) {
    const lanes = scenario.clients.map(name => new Lane(name));
    this.#lanes = new Map(lanes.map(lane => [lane.name, lane]));
    lanesView.replaceChildren(...lanes.map(({ view }) => view));
    this.#steps = scenario.steps.map(stepView);
    stepsView.replaceChildren(...this.#steps);
  }

  /** Aborts when the visitor leaves the scenario, or runs it anew. */
  get signal(): AbortSignal {
    return this.#left.signal;
  }

  /** The client with this name. */
  client(name: string): Lane {
    const lane = this.#lanes.get(name);
    if (lane === undefined) throw new Error(`the scenario has no client ${name}`);
    return lane;
  }

  /** Does the next step, and shows its result or its failure. */
  async step(action: () => Promise<StepResult> | StepResult): Promise<void> {
    this.signal.throwIfAborted();
    const view = this.#steps[this.#at];
    this.#at += 1;
    if (view === undefined) throw new Error('the scenario has fewer steps than its run');
    view.dataset['state'] = 'running';
    try {
      const result = await this.#within(Promise.resolve().then(action));
      const { text, tone } = typeof result === 'string' ? { text: result, tone: 'good' as const } : result;
      showResult(view, text, tone);
    } catch (error) {
      if (!this.signal.aborted) showResult(view, messageOf(error), 'bad');
      throw error;
    }
    await this.pause(PACE_MS);
  }

  /** Waits so long, or less as the pace says. */
  async pause(ms: number): Promise<void> {
    await this.#within(new Promise(resolve => setTimeout(resolve, ms * this.pace)));
  }

  /** Sends a request, and again after 503: then it had no effect. @throws Error when the server refuses it */
  async ask(method: string, path: string, body?: string): Promise<Answer> {
    let answer = await ask(method, path, body);
    for (let tries = 1; answer.status === 503 && tries < TRIES; tries += 1) {
      await this.#within(new Promise(resolve => setTimeout(resolve, RETRY_MS)));
      answer = await ask(method, path, body);
    }
    if (!answer.ok) throw new Error(`${method} ${path}: ${errorText(answer)}`);
    return answer;
  }

  /** Publishes three entries, numbered from `from` on. @param query further parameters, which begin with `&` */
  async publish(topic: string, from: number, query = ''): Promise<void> {
    for (let n = from; n < from + 3; n += 1) {
      await this.ask('POST', `/sse/topics/${encodeURIComponent(topic)}?event=entry${query}`, String(n));
    }
  }

  /** To be done at the end of the run, however it ends. */
  atEnd(undo: () => void): void {
    this.#undo.push(undo);
  }

  /** Ends the run: its streams are closed, its steps stop. */
  end(): void {
    this.#left.abort(new Error('the scenario was left'));
    for (const lane of this.#lanes.values()) lane.close();
    for (const undo of this.#undo.splice(0)) undo();
  }

  /** Rejects when the run ends, or when the promise takes too long. */
  async #within<T>(promise: Promise<T>): Promise<T> {
    const signal = AbortSignal.any([this.signal, AbortSignal.timeout(MOST_PATIENCE_MS)]);
    return Promise.race([
      promise,
      new Promise<never>((_, reject) => {
        const fail = (): void => {
          reject(
            new Error(this.signal.aborted ? 'the scenario was left' : 'this took too long; run the scenario anew'),
          );
        };
        if (signal.aborted) fail();
        else signal.addEventListener('abort', fail, { once: true });
      }),
    ]);
  }
}

function stepView(text: string): HTMLElement {
  const result = element('p', 'result', ' ');
  return element('li', { class: 'step', data: { state: 'waiting' } }, element('p', '', text), result);
}

function showResult(view: HTMLElement, text: string, tone: string): void {
  view.dataset['state'] = 'done';
  const result = view.querySelector<HTMLElement>('.result');
  if (result === null) return;
  result.dataset['tone'] = tone;
  setText(result, text);
}
