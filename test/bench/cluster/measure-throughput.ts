import type { BenchClients } from '../client/bench-clients.js';
import type { Pair } from './cluster-round.js';
import type { Measured } from './figures.js';
import type { RedisMeter } from './redis-meter.js';

type Figures = Measured[string];

const WARM_UP_SHARE = 0.1;

/** How many operations a second a process does with fifty under way, and what each costs Redis. */
export class MeasureThroughput {
  /** @param clients one, connected to the receiver as `target`, that was sent `events` so far */
  constructor(
    private readonly raw: Pair,
    private readonly library: Pair,
    private readonly clients: BenchClients,
    private readonly meter: RedisMeter,
    private events: number,
  ) {}

  /** @param count operations of each kind */
  async run(count: number): Promise<Measured> {
    const measured: Record<string, Figures> = {};
    const kinds: Record<string, (count: number) => Promise<Figures>> = {
      'raw-publish': some => this.#oneWayRaw(some),
      'send-none': some => this.#oneWay('send-none', some),
      publish: some => this.#oneWay('publish', some),
      'raw-round-trip': some => this.#answered(this.raw, 'round-trip', some),
      send: some => this.#delivered('send', some),
      'raw-set': some => this.#answered(this.raw, 'set', some),
      register: some => this.#registered(some),
      'publish-history': some => this.#oneWay('publish-history', some),
    };
    for (const [kind, run] of Object.entries(kinds)) {
      await run(Math.ceil(count * WARM_UP_SHARE));
      measured[kind] = await run(count);
    }
    return measured;
  }

  /** Until the other process had the last. */
  async #oneWayRaw(count: number): Promise<Figures> {
    const { sender, receiver } = this.raw;
    await receiver.arrivals();
    const figures = await this.#measure(count, async () => {
      const startedAt = await sender.many('publish', count);
      return (await receiver.arrived(count)) - startedAt;
    });
    await receiver.arrivals();
    return figures;
  }

  /** Until the client had the last. */
  async #oneWay(kind: string, count: number): Promise<Figures> {
    return this.#measure(count, async () => {
      const startedAt = await this.library.sender.many(kind, count);
      this.events += count;
      return (await this.clients.completed(this.events)) - startedAt;
    });
  }

  /** Until the sender had the last answer. */
  async #answered({ sender }: Pair, kind: string, count: number): Promise<Figures> {
    return this.#measure(count, async () => {
      const startedAt = await sender.many(kind, count);
      return (await sender.ask<number>('now')) - startedAt;
    });
  }

  async #delivered(kind: string, count: number): Promise<Figures> {
    const figures = await this.#answered(this.library, kind, count);
    this.events += count;
    await this.clients.completed(this.events);
    await this.library.receiver.arrivals();
    return figures;
  }

  async #registered(count: number): Promise<Figures> {
    const figures = await this.#answered(this.library, 'register', count);
    await this.library.sender.ask('unregister');
    return figures;
  }

  async #measure(count: number, run: () => Promise<number>): Promise<Figures> {
    let nanoseconds = 0;
    const use = await this.meter.during(async () => {
      nanoseconds = await run();
    });
    return {
      perSecond: count / (nanoseconds / 1e9),
      redisCpuUs: use.cpuUs / count,
      commands: use.commands / count,
      scripts: use.scripts / count,
    };
  }
}
