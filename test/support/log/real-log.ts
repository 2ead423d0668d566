import type { Redis } from 'ioredis';
import { Keys, type TopicKeys } from '../../../src/cluster/redis/keys.js';
import { loadScripts, type Script } from '../../../src/cluster/redis/script.js';
import {
  type HistoryReply,
  historyScript,
  type LookReply,
  lookScript,
  type PublishReply,
  publishScript,
} from '../../../src/cluster/redis/scripts.js';
import { scriptSource } from '../redis/script-source.js';
import { FENCE_MS, META_MS, type Question } from './model-log.js';

const LIFE_MS = 600_000;

/** What a Redis held, key by key. */
export type Dump = readonly (readonly [key: string, content: Buffer])[];

/**
 * The ordered log in a Redis of its own, with a clock and a run id that the test decides. It numbers its epochs. To trim by
 * exact numbers that Redis must keep each entry in a node of its own.
 */
export class RealLog {
  /** Run id of the master that is reached; '' when it is not known. */
  run = 'run-0';
  readonly keys = new Keys({
    prefix: 'real:',
    database: 0,
    channel: 'real:all',
    partitions: 1,
    pubsub: 'classic',
    cluster: false,
  });
  #epochs = 0;

  private constructor(
    private readonly client: Redis,
    private readonly scripts: ReadonlyMap<string, string>,
  ) {}

  static async in(client: Redis): Promise<RealLog> {
    const texts = loadScripts([publishScript.name, lookScript.name, historyScript.name], scriptSource('fake'));
    const scripts = new Map<string, string>();
    for (const [name, text] of texts) {
      scripts.set(name, (await client.script('LOAD', text)) as string);
    }
    return new RealLog(client, scripts);
  }

  async setClock(now: number): Promise<void> {
    await this.client.set(this.#clock, now, 'PX', LIFE_MS);
  }

  publish(topic: TopicKeys, payload: Buffer, maxEntries: number, key: string | undefined): Promise<PublishReply> {
    return this.#offerEpoch(newEpoch =>
      this.#run(publishScript, {
        ...this.#shared(newEpoch),
        topic,
        payload,
        maxEntries,
        maxAgeMs: 0,
        streamMs: LIFE_MS,
        pubCommand: 'PUBLISH',
        channel: '',
        idempotency: key === undefined ? this.keys.logMeta : this.keys.idempotency(topic.stream, key),
        idempotencyMs: key === undefined ? 0 : LIFE_MS,
      }),
    );
  }

  look(topics: readonly TopicKeys[]): Promise<LookReply> {
    const last = topics.map(topic => topic.last);
    return this.#offerEpoch(newEpoch =>
      this.#run(lookScript, { ...this.#shared(newEpoch), forgets: this.keys.logMeta, last }),
    );
  }

  history(question: Question): Promise<HistoryReply> {
    return this.#run(historyScript, { meta: this.keys.logMeta, ...question });
  }

  async trim({ stream }: TopicKeys, keep: number): Promise<void> {
    await this.client.xtrim(stream, 'MAXLEN', keep);
  }

  /** Everything but the clock is gone. */
  async flush(): Promise<void> {
    const keys = await this.#all();
    if (keys.length > 0) await this.client.del(...keys);
  }

  async snapshot(): Promise<Dump> {
    const keys = await this.#all();
    return Promise.all(keys.map(async key => [key, await this.client.dumpBuffer(key)] as const));
  }

  /** A master takes over that had only this. */
  async restore(dump: Dump, run: string): Promise<void> {
    await this.flush();
    for (const [key, content] of dump) await this.client.restore(key, LIFE_MS, content);
    this.run = run;
  }

  async #all(): Promise<string[]> {
    return (await this.client.keys('real:*')).filter(key => key !== this.#clock);
  }

  get #clock(): string {
    return this.keys.logMeta.replace(/m$/, 'clock');
  }

  #shared(newEpoch: string) {
    return { meta: this.keys.logMeta, metaMs: META_MS, newEpoch, failoverJumpMs: FENCE_MS, evicts: false };
  }

  /** Offers the next epoch, which is used when the log is empty. */
  async #offerEpoch<Reply extends { readonly status: string; readonly epoch?: string }>(
    call: (newEpoch: string) => Promise<Reply>,
  ): Promise<Reply> {
    const newEpoch = `epoch${this.#epochs + 1}`;
    const reply = await call(newEpoch);
    if (reply.epoch === newEpoch) this.#epochs += 1;
    return reply;
  }

  async #run<Request, Reply>(script: Script<Request, Reply>, request: Request): Promise<Reply> {
    const keys = script.keysOf(request);
    const args = [keys.length, ...keys, ...script.argsOf(request, this.run)];
    const sha = this.scripts.get(script.name) ?? '';
    return script.parse(await this.client.callBuffer('EVALSHA', sha, ...args));
  }
}
