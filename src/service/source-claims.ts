import { randomBytes } from 'node:crypto';
import type { SourceSettings } from '../options/connection-settings.js';
import type { SourceEnding } from '../protocol/source-topic.js';
import type { SseNode } from './sse-node.js';

/** How and where a source ended. */
export interface SourceEnd {
  /** The id of its last entry. */
  readonly id: string;
  readonly ending: SourceEnding;
}

/** Who runs which resumable source, and which have ended, as the cluster knows it. */
export class SourceClaims {
  /** Names this node's runs; another process of the same node id must not be taken for it. */
  readonly #holder: string;
  readonly #settings: SourceSettings;

  constructor(private readonly node: SseNode) {
    this.#holder = `${node.options.node.id}~${randomBytes(8).toString('hex')}`;
    this.#settings = node.options.source;
  }

  /** Takes or keeps the right to run a source. @throws SseError `UNAVAILABLE` */
  async take(key: string): Promise<boolean> {
    return (await this.#claim(`run ${key}`, this.#holder, this.#settings.lease)) === this.#holder;
  }

  /** Whether somebody runs it. @throws SseError `UNAVAILABLE` */
  async running(key: string): Promise<boolean> {
    return (await this.#claim(`run ${key}`, '', 0)) !== undefined;
  }

  /** Notes its end. @throws SseError `UNAVAILABLE` */
  async end(key: string, { id, ending }: SourceEnd): Promise<void> {
    await this.#claim(`end ${key}`, `${id} ${ending}`, this.#settings.ttl);
  }

  /** Its end, once it has ended. @throws SseError `UNAVAILABLE` */
  async ended(key: string): Promise<SourceEnd | undefined> {
    const noted = await this.#claim(`end ${key}`, '', 0);
    if (noted === undefined) return undefined;
    const [id = '', ending] = noted.split(' ');
    // Only `end` writes it.
    return { id, ending: ending as SourceEnding };
  }

  #claim(name: string, holder: string, ms: number): Promise<string | undefined> {
    return this.node.policy.execute('publish', () => this.node.coordinator.claim(name, holder, ms));
  }
}
