import { randomBytes } from 'node:crypto';
import type { SourceSettings } from '../options/connection-settings.js';
import type { SseNode } from './sse-node.js';

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

  /** Notes the id of its last entry. @throws SseError `UNAVAILABLE` */
  async end(key: string, id: string): Promise<void> {
    await this.#claim(`end ${key}`, id, this.#settings.ttl);
  }

  /** The id of its last entry, once it has ended. @throws SseError `UNAVAILABLE` */
  ended(key: string): Promise<string | undefined> {
    return this.#claim(`end ${key}`, '', 0);
  }

  #claim(name: string, holder: string, ms: number): Promise<string | undefined> {
    return this.node.policy.execute('publish', () => this.node.coordinator.claim(name, holder, ms));
  }
}
