import type { ReservedTopics } from '../contracts/listener.js';
import type { SseNode } from '../node/node.js';
import { encodeEvent } from '../protocol/event-stream.js';
import { reservedTopic } from '../protocol/names.js';
import { Periodic } from '../time.js';
import { type Check, isNumber, isOneOf, isShape, isText } from './shape.js';

/** Every node with a console follows it: questions, and the news that somebody looks. */
const COMMON = reservedTopic('console');
/** Nodes with a viewer follow it: samples. */
const LIVE = reservedTopic('console.live');
/** Another version of the messages is another console, which does not answer. */
const VERSION = 1;
const EVENT = 'sse.console';
const DATA = 'data: ';
/** Longer messages are none of ours. */
const MAX_BYTES = 2 * 1024 * 1024;
const RETRY_MS = 2_000;
const DEADLINE_MS = 2_000;

/**
 * What nodes say to each other.
 *
 * - `hello`: a node has begun to answer questions.
 * - `watch`: somebody looks, and the node is to send samples for a few seconds more.
 * - `ask`, `answer`: a question for all nodes, or for the one in `to`; `id` joins the answer to it.
 * - `sample`: what a node measured.
 */
export interface ConsoleMessage {
  readonly kind: 'hello' | 'watch' | 'ask' | 'answer' | 'sample';
  /** The node that says it. */
  readonly from: string;
  /** Of a question and its answers. */
  readonly id: string;
  /** The node that it is for; empty: all. */
  readonly to: string;
  /** To be parsed by its receiver. */
  readonly content: unknown;
}

const isMessage: Check<ConsoleMessage & { readonly version: number }> = isShape<
  ConsoleMessage & { readonly version: number }
>({
  version: isNumber,
  kind: isOneOf('hello', 'watch', 'ask', 'answer', 'sample'),
  from: isText,
  id: isText,
  to: isText,
  content: (value): value is unknown => value !== undefined,
});

/**
 * Carries the messages of the console over the log's reserved topics, not kept and at most once. A message that is lost costs
 * a sample or an answer; the next one comes.
 */
export class ConsoleChannel implements ReservedTopics {
  readonly #own: string;
  readonly #topics = new Set<string>();
  readonly #wanted = new Map<string, () => void>();
  readonly #subscribing = new Periodic(() => this.#subscribe(), { everyMs: RETRY_MS, jitter: 0.2 });

  /**
   * @param receive gets each message of another node
   * @param closed is called when the node closes
   */
  constructor(
    private readonly node: SseNode,
    private readonly receive: (message: ConsoleMessage) => void,
    private readonly closed: () => void,
  ) {
    this.#own = reservedTopic(`console.to.${node.options.node.id}`);
    node.reserved = this;
  }

  /** Follows what concerns every node, and answers for this one; `then` once it does. */
  begin(then: () => void): void {
    this.#want(this.#own);
    this.#want(COMMON, then);
  }

  /** Whether samples are wanted here. */
  set live(live: boolean) {
    if (live) {
      if (!this.#topics.has(LIVE)) this.#want(LIVE);
      return;
    }
    this.#wanted.delete(LIVE);
    if (this.#topics.delete(LIVE)) this.node.cluster.log.unsubscribe([LIVE]);
  }

  follows(topic: string): boolean {
    return this.#topics.has(topic) || this.#wanted.has(topic);
  }

  onPublication(topic: string, bytes: Buffer): void {
    // A node of a bus in memory gets every publication.
    if (!this.#topics.has(topic) && !this.#wanted.has(topic)) return;
    const message = parse(bytes);
    if (message === undefined || message.from === this.#nodeId) return;
    if (message.to === '' || message.to === this.#nodeId) this.receive(message);
  }

  /** Sends a message; resolves to whether the cluster took it. Never rejects. */
  async send(kind: ConsoleMessage['kind'], { id = '', to = '', content = null }: Content = {}): Promise<boolean> {
    if (!this.node.cluster.joined || this.node.closed) return false;
    const message = { version: VERSION, kind, from: this.#nodeId, id, to, content };
    const body = encodeEvent({ event: EVENT, data: JSON.stringify(message) });
    const result = await this.node.cluster.publish({ topic: topicOf(kind, to), body, retention: false }, DEADLINE_MS);
    return result.outcome === 'published';
  }

  close(): void {
    this.#subscribing.stop();
    this.closed();
  }

  get #nodeId(): string {
    return this.node.options.node.id;
  }

  #want(topic: string, then: () => void = () => undefined): void {
    if (this.node.closed) return;
    this.#wanted.set(topic, then);
    this.#subscribing.start();
    this.#subscribing.runWithin(0);
  }

  async #subscribe(): Promise<void> {
    for (const [topic, then] of [...this.#wanted]) {
      try {
        await this.node.cluster.log.subscribe([topic]);
      } catch (error) {
        this.node.logger.debug('the console could not subscribe yet; trying again', { error });
        return;
      }
      // It may be wanted no more.
      if (this.#wanted.delete(topic)) {
        this.#topics.add(topic);
        then();
      } else this.node.cluster.log.unsubscribe([topic]);
    }
    if (this.#wanted.size === 0) this.#subscribing.stop();
  }
}

type Content = Partial<Pick<ConsoleMessage, 'id' | 'to' | 'content'>>;

function topicOf(kind: ConsoleMessage['kind'], to: string): string {
  switch (kind) {
    case 'hello':
    case 'watch':
    case 'ask':
      return COMMON;
    case 'sample':
      return LIVE;
    case 'answer':
      return reservedTopic(`console.to.${to}`);
  }
}

function parse(bytes: Buffer): ConsoleMessage | undefined {
  if (bytes.length > MAX_BYTES) return undefined;
  const text = bytes.toString();
  const at = text.indexOf(DATA);
  if (at < 0) return undefined;
  try {
    const message: unknown = JSON.parse(text.slice(at + DATA.length));
    return isMessage(message) && message.version === VERSION ? message : undefined;
  } catch {
    // Only what is JSON was sent by a console.
    return undefined;
  }
}
