import type { CoordinatorStatus } from '../../contracts/cluster.js';
import type { LeakProbe, ReconcileReport, ReconcileRequest } from '../../contracts/self-check.js';
import type { SseError } from '../../errors.js';
import { EVERYONE } from '../../protocol/names.js';
import { Periodic } from '../../time.js';
import type { ClusterNode } from './cluster-node.js';
import { CommandBus } from './commands.js';
import { redisErrorCode } from './failure.js';
import { LogFeed } from './feed.js';
import { nodeIdOf, type SupersededFrame } from './frames.js';
import { type InboxParts, NodeInbox } from './inbox.js';
import { LiveNodes, NodeLeases } from './leases.js';
import { LogReader, LogWriter } from './log.js';
import { MessageRouter, type PendingSend } from './messages.js';
import { NodeChannel } from './node-channel.js';
import { Reconciler } from './reconcile.js';
import { RedisRoutes, RouteExpiry } from './routes.js';

/** Milliseconds that joining waits for what usually takes a few. */
const PATIENCE = 2_000;
const POLL_MS = 10;
/** Milliseconds for the other nodes to note that this one joined. */
const GREETING_MS = 250;

/** One membership of this node in the cluster: its parts, joined together, and what keeps them going. */
export class RedisMember implements InboxParts {
  readonly leases: NodeLeases;
  readonly registry: RedisRoutes;
  readonly router: MessageRouter;
  readonly bus: CommandBus;
  readonly reader: LogReader;
  readonly writer: LogWriter;
  readonly feed: LogFeed;
  readonly nodes: LiveNodes;
  readonly #reconciler: Reconciler;
  readonly #expiry: RouteExpiry;
  readonly #expiring: Periodic;
  readonly #channel: NodeChannel;
  readonly #inbox: NodeInbox;
  #reaping = false;
  #left: Promise<void> | undefined;

  constructor(private readonly node: ClusterNode) {
    this.#channel = new NodeChannel(node);
    this.leases = new NodeLeases(node, {
      onOpened: () => this.#reconciler.renewSoon(),
      onBeat: () => this.#onBeat(),
      onSilent: error => this.#onSilent(error),
      onRecovered: () => this.#reconciler.renewSoon(),
    });
    this.registry = new RedisRoutes(node, this.leases);
    this.nodes = new LiveNodes(node);
    this.#expiry = new RouteExpiry(node, dead => this.#onDead(dead));
    this.#expiring = new Periodic(() => this.#expire(), {
      everyMs: node.options.cleanup.interval,
    });
    this.#reconciler = new Reconciler(node, {
      leases: this.leases,
      registry: this.registry,
      expiry: this.#expiry,
      notify: repaired => this.bus.notifyAll({ t: 'sync', repaired }),
    });
    this.router = new MessageRouter(node, this.#channel);
    this.bus = new CommandBus(node, this.#channel, this.nodes, () => this.leases.clock);
    this.#inbox = new NodeInbox(node, this.#channel, this);
    this.reader = new LogReader(node);
    this.writer = new LogWriter(node, this.nodes);
    this.feed = new LogFeed(node, this.#inbox.log, this.reader);
  }

  /**
   * Resolves when this node takes part, or when it is known that Redis cannot be reached; it goes on trying then.
   * @throws SseError when trying on is no use: `INVALID_OPTION` for another layout, `INTERNAL` for a refused login
   */
  async join(): Promise<void> {
    this.#reconciler.start();
    if (this.node.options.cleanup.enabled) this.#expiring.start();
    this.#inbox.open();
    try {
      await this.node.gateway.open();
      await this.leases.beat();
    } catch (error) {
      if (!isPassing(error)) throw error;
      this.node.logger.warn('the cluster cannot be reached; this node joins when it can', {
        error,
      });
      return;
    }
    await this.#heard();
    await this.#greet();
  }

  /** Whether there is a connection to Redis. */
  get reachable(): boolean {
    return this.node.gateway.reachable;
  }

  /** Why nothing can be asked of the cluster, if so. */
  obstacle(): string | undefined {
    if (!this.node.gateway.reachable) return 'there is no connection to Redis';
    if (this.leases.silent) return 'Redis does not answer';
    if (!this.leases.held) return 'this node has not joined yet';
    return undefined;
  }

  /** Whether a connection of this node follows a topic. */
  isFollowed(topic: string): boolean {
    return this.node.listener.follows(topic);
  }

  /** Compares this node with the cluster. Never rejects: a failure makes the report unknown. */
  reconcile(request: ReconcileRequest): Promise<ReconcileReport> {
    return this.#reconciler.reconcile(request);
  }

  /** Why nothing is heard from the cluster, if so. */
  deafness(): string | undefined {
    if (!this.#inbox.up) return 'the subscriptions are being restored';
    return this.feed.begun ? undefined : 'the log has not been read yet';
  }

  /** Releases what this node has in the cluster, as far as it can be reached, and hears nothing any more. Twice is harmless. */
  leave(): Promise<void> {
    this.#left ??= this.#leave();
    return this.#left;
  }

  onReachable(reachable: boolean): void {
    if (this.#left !== undefined) return;
    if (reachable) {
      // A failure is planned again by the heartbeats.
      this.leases.beat().catch(() => undefined);
      return;
    }
    this.leases.interrupt();
    this.node.logger.warn('the connection to Redis is lost; local delivery goes on');
  }

  /** Subscriptions of this node began again; what other nodes sent meanwhile is lost. */
  onNodeUp(): void {
    this.#reconciler.renewSoon();
  }

  /** Closes a connection whose id another registration took over. */
  onSuperseded({ connectionId, token }: SupersededFrame): void {
    if (!this.#channel.signs) {
      this.node.listener.onSuperseded(connectionId, token);
      return;
    }
    // A script wrote the frame, unsigned: it counts only as far as the route says the same.
    this.registry.find(connectionId).then(
      route => {
        if (route?.inc === this.node.inc && route.tok === token) return;
        this.node.listener.onSuperseded(connectionId, token);
      },
      () => this.#reconciler.renewSoon(),
    );
  }

  onError(error: SseError): void {
    if (this.#left === undefined) this.node.logger.debug('a connection to Redis failed', { error });
  }

  async #leave(): Promise<void> {
    const { logger } = this.node;
    this.#reconciler.stop();
    this.#expiring.stop();
    this.leases.stop();
    this.#inbox.close();
    this.feed.close();
    // Also while it joins: a lease may be on its way.
    if (this.reachable && !this.leases.silent) {
      try {
        await this.leases.release(false);
        await this.bus.notifyAll({ t: 'leave' });
      } catch (error) {
        logger.warn('what this node had in the cluster was not released; it expires', { error });
      }
    }
    this.bus.close();
    this.router.close();
  }

  /** Waits until everything is heard, but not for ever. */
  async #heard(): Promise<void> {
    const deadline = performance.now() + PATIENCE;
    while (
      this.deafness() !== undefined &&
      this.#left === undefined &&
      performance.now() < deadline
    ) {
      await new Promise(resolve => setTimeout(resolve, POLL_MS));
    }
  }

  /** Announces this node, so that the others count it from now on. Never rejects. */
  async #greet(): Promise<void> {
    const { inc, nodeId, logger } = this.node;
    try {
      const others = (await this.nodes.incarnations()).filter(other => other !== inc);
      const { answered } = await this.bus.askAll(others, { t: 'join' }, GREETING_MS);
      // A node whose lease is over and was not reaped does not answer.
      if (![...answered.keys()].some(other => nodeIdOf(other) === nodeId)) return;
      logger.warn('node.id must be unique in a cluster; another node has the same', { nodeId });
    } catch (error) {
      logger.debug('this node could not be announced to the others', { error });
    }
  }

  #onBeat(): void {
    this.nodes.forget();
    // All nodes may have been cut off together; each gets the time to renew its lease first.
    if (this.leases.steady) void this.#reap();
  }

  #onSilent(error: unknown): void {
    this.node.logger.warn('this node cannot prove that it lives; it goes on trying', { error });
  }

  #onDead(inc: string): void {
    this.nodes.forget();
    this.router.onDead(inc);
    this.bus.onDead(inc);
  }

  async #reap(): Promise<void> {
    if (this.#reaping) return;
    this.#reaping = true;
    try {
      await this.#expiry.reap();
    } catch (error) {
      this.node.logger.debug('dead nodes could not be removed; the next heartbeat tries again', {
        error,
      });
    } finally {
      this.#reaping = false;
    }
  }

  async #expire(): Promise<void> {
    try {
      await this.#expiry.expire();
    } catch (error) {
      this.node.logger.debug('expired routes could not be removed; the next run tries again', {
        error,
      });
    }
  }
}

function isPassing(error: unknown): boolean {
  return (error as Partial<SseError>).code === 'UNAVAILABLE';
}

/** What is asked of a membership. */
interface StatusSource {
  /** Whether there is a connection to Redis. */
  readonly reachable: boolean;
  readonly leases: {
    /** Whether the last heartbeat failed, and why. */
    readonly silent: boolean;
    readonly silence: unknown;
  };
  /** Why nothing can be asked of the cluster, or heard from it. */
  obstacle(): string | undefined;
  deafness(): string | undefined;
}

/** Whether the cluster can be used and heard through this membership, and what is wrong if not. */
export function memberStatus(member: StatusSource): CoordinatorStatus {
  const obstacle = member.obstacle();
  if (obstacle !== undefined) {
    const trouble = troubleOf(member);
    return { reachable: false, detail: obstacle, ...(trouble && { trouble }) };
  }
  const deafness = member.deafness();
  if (deafness === undefined) return { reachable: true };
  return { reachable: false, detail: deafness, trouble: 'feed' };
}

function troubleOf({ reachable, leases }: StatusSource): CoordinatorStatus['trouble'] {
  if (!reachable) return undefined;
  if (leases.silent) return isFull(leases.silence) ? 'memory' : undefined;
  return 'lease';
}

/** Whether Redis refused a write because of its `maxmemory`. */
function isFull(error: unknown): boolean {
  return error instanceof Error && redisErrorCode(error.cause) === 'OOM';
}

/** What a membership can leave behind: sends past their deadline, feeds that nobody follows, frames held for no reason. */
export function clusterProbes(member: () => RedisMember | undefined): LeakProbe[] {
  return [sendProbe(member), feedProbe(member), heldProbe(member)];
}

function sendProbe(member: () => RedisMember | undefined): LeakProbe<PendingSend> {
  return {
    kind: 'send',
    suspects: () => member()?.router.overdue() ?? [],
    release: send => member()?.router.abandon(send),
  };
}

function feedProbe(member: () => RedisMember | undefined): LeakProbe<string> {
  return {
    kind: 'feed',
    suspects: () => {
      const present = member();
      if (present === undefined) return [];
      return present.feed.topics.filter(topic => topic !== EVERYONE && !present.isFollowed(topic));
    },
    release: topic => {
      // As often as the feed was subscribed to it; a `subscribe` under way ends that.
      for (let feed = member()?.feed; feed?.topics.includes(topic) === true;) {
        feed.unsubscribe([topic]);
      }
    },
  };
}

function heldProbe(member: () => RedisMember | undefined): LeakProbe<string> {
  return {
    kind: 'held-frames',
    suspects: () => (member()?.feed.holdsForNothing === true ? ['log'] : []),
    release: () => member()?.feed.dropHeld(),
  };
}
