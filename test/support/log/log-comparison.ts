import { expect } from 'chai';
import type { SinonFakeTimers } from 'sinon';
import { parsePosition } from '../../../src/cluster/redis/script.js';
import type { HistoryReply, LookReply, PublishReply } from '../../../src/cluster/redis/scripts.js';
import type { Cursor, Position } from '../../../src/contracts/events.js';
import { ModelLog, type Question, text } from './model-log.js';
import type { Dump, RealLog } from './real-log.js';

/** The cursor of a reader: near a seen entry, the newest first; none; or of another log. */
export type Start = { readonly seen: number; readonly ms: number; readonly sequence: number } | 'nowhere' | 'elsewhere';

/** Something that happens to both logs. */
export type LogStep =
  | {
      readonly is: 'publish';
      readonly topic: string;
      /** Newest entries to keep. */
      readonly keep: number;
      readonly key: string | undefined;
    }
  | {
      /** Page by page, to the end. */
      readonly is: 'read';
      readonly topics: readonly string[];
      readonly from: Start;
      readonly limit: number;
      readonly bytes: number;
    }
  | { readonly is: 'trim'; readonly topic: string; readonly keep: number }
  | { readonly is: 'tick'; readonly ms: number }
  | { readonly is: 'flush' }
  | { readonly is: 'remember' }
  /** A master takes over that had only what was remembered. */
  | { readonly is: 'lose'; readonly run: string }
  /** Another master takes over, or the same is not known or known again. */
  | { readonly is: 'master'; readonly run: string };

/** The model of the log and the scripts side by side: every step happens to both, and both must answer the same. */
export class LogComparison {
  readonly #model = new ModelLog();
  readonly #seen: Cursor[] = [];
  #remembered: { readonly model: object; readonly real: Dump } | undefined;
  #published = 0;
  #answers = 0;

  constructor(
    private readonly real: RealLog,
    /** The model's; the scripts' follows it. */
    private readonly clock: SinonFakeTimers,
  ) {}

  /** Answers that were compared. */
  get answers(): number {
    return this.#answers;
  }

  /** Both are empty. */
  async start(): Promise<void> {
    await this.real.flush();
    await this.#tick(0);
    await this.#remember();
  }

  async do(step: LogStep): Promise<void> {
    switch (step.is) {
      case 'publish':
        await this.#publish(step.topic, step.keep, step.key);
        break;
      case 'read':
        await this.#read(step.topics, this.#cursor(step.from), step);
        break;
      case 'trim':
        await this.#trim(step.topic, step.keep);
        break;
      case 'tick':
        await this.#tick(step.ms);
        break;
      case 'flush':
        this.#model.flush();
        await this.real.flush();
        break;
      case 'remember':
        await this.#remember();
        break;
      case 'lose':
        await this.#lose(step.run);
        break;
      case 'master':
        this.#model.run = step.run;
        this.real.run = step.run;
        break;
    }
  }

  /** Reads everything that there is of these topics. */
  async end(topics: readonly string[]): Promise<void> {
    await this.#read(topics, { epoch: '', ms: 0, sequence: 0 }, { limit: 3, bytes: 1_000 });
  }

  async #publish(topic: string, keep: number, key: string | undefined): Promise<void> {
    this.#published += 1;
    const payload = Buffer.from(`${this.#published}`.padEnd((this.#published * 7) % 40, '.'));
    const keys = this.real.keys.topic(topic);
    const [status, entry] =
      key === undefined
        ? (['NEW', this.#model.publish(keys.stream, payload)] as const)
        : this.#model.publishOnce(`${keys.stream} ${key}`, keys.stream, payload);
    if (status === 'NEW') this.#model.trim(keys.stream, keep);
    const { position, previous, epoch } = entry;
    const expected: PublishReply = { status, id: text(position), previous: text(previous), epoch };
    this.#compare(await this.real.publish(keys, payload, keep, key), expected);
    this.#seen.push({ epoch, ...position });
  }

  /** @param start where each topic is read from; without an epoch in the present log */
  async #read(
    topics: readonly string[],
    start: Cursor | undefined,
    { limit, bytes }: Pick<Question, 'limit' | 'bytes'>,
  ): Promise<void> {
    const look = await this.#look(topics);
    if (look.status === 'LIMIT' || start === undefined) return;
    const epoch = start.epoch === '' ? look.epoch : start.epoch;
    let waiting = topics.map((topic): { topic: string; from: Position } => ({ topic, from: start }));
    while (waiting.length > 0) {
      const keys = this.#keys(waiting.map(({ topic }) => topic));
      const after = waiting.map(({ from: { ms, sequence } }) => ({ ms, sequence }));
      const reply = await this.#ask({ topics: keys, after, epoch, limit, bytes });
      if (reply.status !== 'OK') return;
      waiting = waiting.flatMap(({ topic, from }, at) => {
        const last = reply.entries.findLast(entry => entry.topic === at);
        if (at < reply.read && !reply.more.includes(at)) return [];
        return { topic, from: last === undefined ? from : cursorOf(epoch, last.id) };
      });
    }
  }

  async #look(topics: readonly string[]): Promise<LookReply> {
    const keys = this.#keys(topics);
    const reply = this.#model.look(keys.map(({ stream }) => stream));
    this.#compare(await this.real.look(keys), reply);
    if (reply.status === 'OK') this.#seen.push(cursorOf(reply.epoch, reply.head));
    return reply;
  }

  async #ask(question: Question): Promise<HistoryReply> {
    const reply = this.#model.history(question);
    this.#compare(await this.real.history(question), reply);
    if (reply.status !== 'OK') return reply;
    for (const { until } of reply.gaps) if (until !== undefined) this.#seen.push(cursorOf(question.epoch, until));
    return reply;
  }

  async #trim(topic: string, keep: number): Promise<void> {
    const keys = this.real.keys.topic(topic);
    this.#model.trim(keys.stream, keep);
    await this.real.trim(keys, keep);
  }

  async #tick(ms: number): Promise<void> {
    this.clock.setSystemTime(Date.now() + ms);
    await this.real.setClock(Date.now());
  }

  async #remember(): Promise<void> {
    this.#remembered = { model: this.#model.snapshot(), real: await this.real.snapshot() };
  }

  async #lose(run: string): Promise<void> {
    if (this.#remembered === undefined) throw new Error('the comparison must be started');
    this.#model.restore(this.#remembered.model, run);
    await this.real.restore(this.#remembered.real, run);
  }

  #keys(topics: readonly string[]) {
    return topics.map(topic => this.real.keys.topic(topic));
  }

  #cursor(start: Start): Cursor | undefined {
    if (start === 'nowhere') return undefined;
    if (start === 'elsewhere') return { epoch: 'other', ms: Date.now(), sequence: 1 };
    const { length } = this.#seen;
    const seen = this.#seen[length - 1 - (start.seen % length)];
    const { epoch, ms, sequence } = seen ?? { epoch: 'epoch1', ms: Date.now(), sequence: 0 };
    return { epoch, ms: ms + start.ms, sequence: Math.max(0, sequence + start.sequence) };
  }

  #compare<Reply extends PublishReply | LookReply | HistoryReply>(actual: Reply, expected: Reply): void {
    this.#answers += 1;
    expect(actual).to.deep.equal(expected);
  }
}

function cursorOf(epoch: string, id: string): Cursor {
  const position = parsePosition(id);
  if (position === undefined) throw new Error(`${id} is no id`);
  return { epoch, ...position };
}
