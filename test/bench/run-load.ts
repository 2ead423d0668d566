import type { BenchServer } from './bench-server.js';
import type { BenchClients } from './client/bench-clients.js';

/** Milliseconds, microseconds, deliveries per second and kilobytes, each as its name says. */
export type Figures = Partial<Record<Metric, number>>;

/** Lone: each when all have the one before. Sustained: some are always under way. */
export type Load = 'lone' | 'sustained' | 'bursts' | 'sends';

/** What is measured of every candidate. */
export type Metric =
  | 'acceptCpuUs'
  | 'acceptsPerSecond'
  | 'heapKb'
  | 'rssKb'
  | 'loneCpuUs'
  | 'loneLastMs'
  | 'loneStallMs'
  | 'sustainedPerSecond'
  | 'sustainedCpuUs'
  | 'burstPerSecond'
  | 'burstCpuUs'
  | 'sendCpuUs';

const BURST = 10;
const WARM_UP_EVENTS = 10;
// So that the code that accepts is compiled, and the heap has its shape, before connections are counted.
const WARM_UP_SHARE = 0.1;

/** Puts one server under several kinds of load, one after the other. */
export class RunLoad {
  #event = 0;

  /**
   * @param deliveries how many deliveries each kind of load takes at least
   * @param outstanding how many broadcasts are under way under sustained load
   */
  constructor(
    private readonly server: BenchServer,
    private readonly clients: BenchClients,
    private readonly deliveries: number,
    private readonly outstanding = 4,
  ) {}

  /** Opens the connections, each client once. */
  async open(connections: number): Promise<Figures> {
    const warmUp = Math.ceil(connections * WARM_UP_SHARE);
    await this.clients.open(this.server, warmUp);
    const accepted = await this.#accept(connections - warmUp);
    return accepted;
  }

  /** Puts what is open under these loads. */
  async load(kinds: readonly Load[]): Promise<Figures> {
    for (let event = 0; event < WARM_UP_EVENTS; event += 1) await this.#lone();
    const measured: Figures = {};
    for (const kind of kinds) Object.assign(measured, await this.#under(kind));
    return measured;
  }

  #under(kind: Load): Promise<Figures> {
    switch (kind) {
      case 'lone':
        return this.#loneBroadcasts();
      case 'sustained':
        return this.#sustained();
      case 'bursts':
        return this.#bursts();
      case 'sends':
        return this.#sends();
    }
  }

  async #accept(count: number): Promise<Figures> {
    const { server, clients } = this;
    const [memoryBefore, cpuBefore, startedAt] = [await server.memory(), await server.cpu(), performance.now()];
    await clients.open(server, count);
    const seconds = (performance.now() - startedAt) / 1000;
    const cpu = (await server.cpu()) - cpuBefore;
    const memory = await server.memory();
    return {
      acceptCpuUs: cpu / count,
      acceptsPerSecond: count / seconds,
      ...(memory.heap > 0 && { heapKb: (memory.heap - memoryBefore.heap) / count / 1024 }),
      rssKb: (memory.rss - memoryBefore.rss) / count / 1024,
    };
  }

  /** One broadcast after the other, each when all have the one before. */
  async #loneBroadcasts(): Promise<Figures> {
    await this.server.longestStall?.();
    const last: number[] = [];
    const { cpuUs } = await this.#measure(async events => {
      for (let event = 0; event < events; event += 1) last.push(await this.#lone());
    });
    last.sort((a, b) => a - b);
    const stall = await this.server.longestStall?.();
    return {
      loneCpuUs: cpuUs,
      loneLastMs: last[last.length >> 1] ?? 0,
      ...(stall === undefined ? {} : { loneStallMs: stall }),
    };
  }

  /** Each broadcast is asked for as soon as one before it has come to all. */
  async #sustained(): Promise<Figures> {
    const { cpuUs, perSecond } = await this.#measure(async events => {
      const last = this.#event + events;
      const worker = async (): Promise<void> => {
        while (this.#event < last) {
          this.#event += 1;
          const completed = this.clients.completed(this.#event);
          void this.server.broadcast(1);
          await completed;
        }
      };
      await Promise.all(Array.from({ length: this.outstanding }, worker));
    });
    return { sustainedCpuUs: cpuUs, sustainedPerSecond: perSecond };
  }

  async #bursts(): Promise<Figures> {
    const { cpuUs, perSecond } = await this.#measure(async events => {
      for (let event = 0; event < events; event += BURST) {
        await this.server.broadcast(BURST);
        this.#event += BURST;
        await this.clients.completed(this.#event);
      }
    }, BURST);
    return { burstCpuUs: cpuUs, burstPerSecond: perSecond };
  }

  /** One event to each connection by itself, so that all have had equally many afterwards. */
  async #sends(): Promise<Figures> {
    const { server } = this;
    if (server.send === undefined) return {};
    const { cpuUs } = await this.#measure(async events => {
      for (let event = 0; event < events; event += 1) {
        await server.send?.(this.clients.opened);
        this.#event += 1;
        await this.clients.completed(this.#event);
      }
    });
    return { sendCpuUs: cpuUs };
  }

  /** Milliseconds until the last connection had the event. */
  async #lone(): Promise<number> {
    this.#event += 1;
    const completed = this.clients.completed(this.#event);
    const startedAt = await this.server.broadcast(1);
    return ((await completed) - startedAt) / 1e6;
  }

  async #measure(load: (events: number) => Promise<void>, multiple = 1): Promise<{ cpuUs: number; perSecond: number }> {
    const { opened } = this.clients;
    const events = Math.ceil(this.deliveries / opened / multiple) * multiple;
    const [cpuBefore, startedAt] = [await this.server.cpu(), performance.now()];
    await load(events);
    const seconds = (performance.now() - startedAt) / 1000;
    const cpu = (await this.server.cpu()) - cpuBefore;
    return { cpuUs: cpu / (events * opened), perSecond: (events * opened) / seconds };
  }
}
