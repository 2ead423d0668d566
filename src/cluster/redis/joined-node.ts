import type { CoordinatorStatus, Impairment } from '../../contracts/cluster.js';
import type { LeakProbe, ReconcileReport, ReconcileRequest } from '../../contracts/self-check.js';
import { SseError } from '../../errors.js';
import { pause, Periodic } from '../../time.js';
import { type ClusterNode, type InboxParts, NodeChannel, NodeInbox } from './cluster-node.js';
import { CommandBus } from './commands.js';
import { RouteExpiry } from './expiry.js';
import { redisErrorCode } from './failures.js';
import { LogFeed } from './feed.js';
import { nodeIdOf, type SupersededFrame } from './frames.js';
import type { RedisGateway } from './gateway.js';
import type { Partition } from './keys.js';
import { LiveNodes, NodeLeases, type Trouble } from './leases.js';
import { LogWriter } from './log.js';
import { LogReader } from './log-reader.js';
import { MessageRouter } from './messages.js';
import type { PendingSend } from './pending-send.js';
import { NodeCommands, RevocationMarks } from './node-commands.js';
import { Reconciler } from './reconcile.js';
import { RedisRoutes } from './routes.js';
import { LogTail, retentionMs } from './tail.js';
import { UnreadableKeys } from './unreadable.js';

/** Milliseconds that joining waits at most for its subscriptions, which usually take a few. */
const LONGEST_WAIT_MS = 2_000;
const POLL_MS = 10;
/** Milliseconds for the other nodes to note that this one joined. */
const GREETING_MS = 250;

/**
 * This node from when it begins to join until it has left: the parts of the coordinator, composed, and the background work
 * that keeps them going. A coordinator that starts again after a failure has a new one.
 */
export class JoinedNode implements InboxParts {
  readonly gateway: RedisGateway;
  readonly leases: NodeLeases;
  readonly registry: RedisRoutes;
  readonly router: MessageRouter;
  readonly bus: CommandBus;
  readonly commands: NodeCommands;
  readonly reader: LogReader;
  readonly writer: LogWriter;
  readonly feed: LogFeed;
  readonly nodes: LiveNodes;
  readonly unreadable: UnreadableKeys;
  readonly #marks: RevocationMarks;
  readonly #reconciler: Reconciler;
  readonly #expiry: RouteExpiry;
  readonly #expiring: Periodic;
  readonly #channel: NodeChannel;
  readonly #inbox: NodeInbox;
  #reaping = false;
  #left: Promise<void> | undefined;

  constructor(private readonly node: ClusterNode) {
    this.gateway = node.gateway;
    this.#channel = new NodeChannel(node);
    this.leases = new NodeLeases(node, {
      onOpened: () => this.#reconciler.renewal.runWithin(0),
      onBeat: () => this.#onBeat(),
      onTrouble: (partition, error) => this.#onTrouble(partition, error),
      onRecovered: () => this.#reconciler.renewal.runWithin(0),
    });
    this.unreadable = new UnreadableKeys(node);
    this.registry = new RedisRoutes(node, this.leases, this.unreadable);
    this.nodes = new LiveNodes(node, this.leases);
    this.#expiry = new RouteExpiry(node, this.leases, dead => this.#onDead(dead));
    this.#expiring = new Periodic(() => this.#expire(), { everyMs: node.options.cleanup.interval });
    this.#reconciler = new Reconciler(node, {
      leases: this.leases,
      registry: this.registry,
      expiry: this.#expiry,
      notify: repaired => this.bus.notifyAll({ t: 'sync', repaired }),
    });
    this.bus = new CommandBus(node, this.#channel, this.nodes);
    this.#marks = new RevocationMarks(node);
    this.commands = new NodeCommands(this.bus, this.registry, this.nodes, this.#marks);
    this.router = new MessageRouter(node, this.#channel, this.leases, this.commands);
    this.#inbox = new NodeInbox(node, this.#channel, this);
    const tail = new LogTail(node.options.history.tail, topic => retentionMs(node.options, topic));
    this.reader = new LogReader({ ...node, gateway: node.reading }, tail, this.unreadable);
    this.writer = new LogWriter(node, this.nodes, this.unreadable);
    this.feed = new LogFeed(node, this.#inbox.log, this.reader, tail);
  }

  /**
   * Resolves when this node takes part, or when Redis certainly cannot be reached; joining goes on in the background then.
   * @throws SseError when another try cannot succeed: `INVALID_OPTION` for another layout, `INTERNAL` for a refused login
   */
  async join(): Promise<void> {
    this.#reconciler.renewal.start();
    if (this.node.options.cleanup.enabled) this.#expiring.start();
    const { gateway } = this.node;
    if (!gateway.cluster) this.#inbox.open();
    try {
      // Both go on trying in the background after a failure.
      const reading = this.node.reading.open();
      reading.catch(() => undefined);
      // Before, no master of a Redis Cluster is known.
      await gateway.open().finally(() => this.#inbox.open());
      await reading;
      await this.leases.beat();
    } catch (error) {
      if (!SseError.is(error, 'UNAVAILABLE')) throw error;
      this.node.logger.warn('the cluster cannot be reached; this node joins when it can', { error });
      return;
    }
    await this.#untilSubscribed();
    await this.#greet();
  }

  /** Compares this node with the cluster. Never rejects: a failure makes the report unknown. */
  reconcile(request: ReconcileRequest): Promise<ReconcileReport> {
    return this.#reconciler.reconcile(request);
  }

  /** Why this node gets no events of the cluster; `undefined` when it does. */
  subscriptionTrouble(): string | undefined {
    if (!this.#inbox.up) return 'the subscriptions are being restored';
    return this.feed.lastPosition === undefined ? 'the log has not been read yet' : undefined;
  }

  /** Releases the routes and the lease of this node, as far as Redis can be reached, and ends its subscriptions. Twice is harmless. */
  leave(): Promise<void> {
    this.#left ??= this.#leave();
    return this.#left;
  }

  /** The connection that reads the log is open, perhaps at another server than before. */
  onReader(): void {
    if (this.#left === undefined && this.#inbox.up) this.feed.onUp();
  }

  onReachable(reachable: boolean): void {
    if (this.#left !== undefined) return;
    if (reachable) {
      const { evictionPolicy } = this.node.gateway;
      if (evictionPolicy !== undefined) this.node.logger.warn(evictionOf(evictionPolicy).detail);
      // A failure is planned again by the heartbeats.
      this.leases.beat().catch(() => undefined);
      return;
    }
    this.leases.interrupt();
    this.node.logger.warn('the connection to Redis is lost; local delivery goes on');
  }

  /** Subscriptions of this node began again; what other nodes sent meanwhile is lost. */
  onNodeUp(): void {
    void this.#marks.read();
    this.#reconciler.renewal.runWithin(0);
  }

  /** Closes a connection whose id another registration took over. */
  async onSuperseded({ connectionId, token, fencingToken, trace }: SupersededFrame): Promise<void> {
    const { signer, listener, inc } = this.node;
    if (!signer.signs) {
      listener.onSuperseded(connectionId, token, fencingToken, trace);
      return;
    }
    // A script wrote the frame, unsigned: it counts only as far as the route says the same.
    try {
      const route = await this.registry.find(connectionId);
      if (route === undefined || (route.inc === inc && route.tok === token)) return;
      listener.onSuperseded(connectionId, token, route.fencingToken, trace);
    } catch {
      this.#reconciler.renewal.runWithin(0);
    }
  }

  onError(error: SseError): void {
    if (this.#left === undefined) this.node.logger.debug('a connection to Redis failed', { error });
  }

  async #leave(): Promise<void> {
    const { logger } = this.node;
    this.#reconciler.renewal.stop();
    this.#expiring.stop();
    this.leases.stop();
    this.#inbox.close();
    this.feed.close();
    // Also while it joins: a lease may be on its way.
    if (this.gateway.reachable && !this.leases.silent) {
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

  /** Waits until this node gets the events of the cluster, two seconds at most. */
  async #untilSubscribed(): Promise<void> {
    const deadline = performance.now() + LONGEST_WAIT_MS;
    while (this.subscriptionTrouble() !== undefined && this.#left === undefined && performance.now() < deadline) {
      await pause(POLL_MS);
    }
  }

  /** Announces this node, so that the others count it from now on. Never rejects. */
  async #greet(): Promise<void> {
    const { inc, nodeId, logger } = this.node;
    try {
      const others = (await this.nodes.incarnations()).filter(other => other !== inc);
      const { answered } = await this.bus.askAll(others, { t: 'join' }, { deadline: GREETING_MS });
      // A node whose lease is over and was not reaped does not answer.
      if (![...answered.keys()].some(other => nodeIdOf(other) === nodeId)) return;
      logger.warn('node.id must be unique in a cluster; another node has the same', { nodeId });
    } catch (error) {
      logger.debug('this node could not be announced to the others', { error });
    }
  }

  #onBeat(): void {
    this.nodes.forget();
    void this.unreadable.check();
    void this.#marks.read();
    if (this.node.gateway.keys.partitions.some(partition => this.leases.isSteady(partition))) void this.#reap();
  }

  #onTrouble({ number }: Partition, trouble: Trouble): void {
    const because = trouble.kind === 'silent' ? trouble.because : impairmentOf(trouble, number).detail;
    this.node.logger.warn('a partition is in trouble; this node goes on trying', { partition: number, error: because });
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
      this.node.logger.debug('dead nodes could not be removed; the next heartbeat tries again', { error });
    } finally {
      this.#reaping = false;
    }
  }

  async #expire(): Promise<void> {
    try {
      await this.#expiry.expire();
    } catch (error) {
      this.node.logger.debug('expired routes could not be removed; the next run tries again', { error });
    }
  }
}

/** The state of a joined node that decides its status. */
interface StatusSource {
  readonly gateway: Pick<RedisGateway, 'reachable' | 'evictionPolicy'>;
  readonly leases: Pick<NodeLeases, 'obstacle' | 'silent' | 'troubles'>;
  subscriptionTrouble(): string | undefined;
  readonly feed: { readonly behind: boolean };
  readonly unreadable: { readonly keys: readonly string[] };
}

/**
 * Whether this node can call the cluster and gets its events; else the reason.
 * @param partition leaves out what concerns other partitions
 */
export function statusOf(node: StatusSource, partition?: Partition): CoordinatorStatus {
  const { gateway, leases } = node;
  const obstacle = leases.obstacle();
  if (obstacle !== undefined) {
    const trouble = !gateway.reachable ? undefined : leases.silent ? refusalIn(leases.troubles) : 'lease';
    return { reachable: false, detail: obstacle, ...(trouble && { trouble }) };
  }
  const subscriptionTrouble = node.subscriptionTrouble();
  if (subscriptionTrouble !== undefined) return { reachable: false, detail: subscriptionTrouble, trouble: 'feed' };
  const concerned = leases.troubles.filter(
    each => partition === undefined || each.partition.number === partition.number,
  );
  // A Redis that refuses writes does so in each of its partitions.
  const details = new Map(
    concerned
      .map(({ trouble, partition: { number } }) => impairmentOf(trouble, number))
      .map(each => [each.detail, each]),
  );
  const whole: Impairment[] = [];
  if (partition === undefined) {
    // An opening connection does not need the feed: it reads the log itself.
    if (node.feed.behind) whole.push(BEHIND);
    // A topic, a user or a client alone. A connection whose registration meets such a key opens without the cluster all the same.
    whole.push(...node.unreadable.keys.map(unreadableKey));
    // A connection opens all the same, and its client gets a reset for what was deleted.
    if (gateway.evictionPolicy !== undefined) whole.push(evictionOf(gateway.evictionPolicy));
  }
  const impaired = [...details.values(), ...whole];
  return impaired.length === 0 ? { reachable: true } : { reachable: true, impaired };
}

function evictionOf(policy: string): Impairment {
  const detail = `maxmemory-policy of Redis must be noeviction, got ${policy}: entries and routes may be lost; change it`;
  return { kind: 'eviction', detail };
}

const BEHIND: Impairment = { kind: 'feed', detail: 'the node is reading what it missed of the log' };

function impairmentOf(trouble: Trouble, partition: number): Impairment {
  switch (trouble.kind) {
    case 'silent':
      return { kind: 'partition', detail: `the Redis of partition ${partition} does not answer` };
    case 'refused':
      return { kind: 'writes', detail: `Redis refuses writes with ${trouble.code}` };
    case 'unreadable':
      return unreadableKey(trouble.key);
  }
}

function unreadableKey(key: string): Impairment {
  return { kind: 'key', detail: `the key ${key} has another type; delete it` };
}

/** Whether Redis answers, and refuses all calls. */
function refusalIn(troubles: NodeLeases['troubles']): 'writes' | undefined {
  const answers = troubles.some(
    ({ trouble }) =>
      trouble.kind === 'silent' &&
      trouble.because instanceof Error &&
      redisErrorCode(trouble.because.cause) !== undefined,
  );
  return answers ? 'writes' : undefined;
}

/** Finds sends past their deadline, subscriptions without a follower, and frames held without a gap. */
export function clusterProbes(node: () => JoinedNode | undefined): LeakProbe[] {
  return [sendProbe(node), feedProbe(node), heldProbe(node)];
}

function sendProbe(node: () => JoinedNode | undefined): LeakProbe<PendingSend> {
  return {
    kind: 'send',
    suspects: () => node()?.router.overdue() ?? [],
    release: send => node()?.router.abandon(send),
  };
}

function feedProbe(node: () => JoinedNode | undefined): LeakProbe<string> {
  return {
    kind: 'feed',
    suspects: () => node()?.feed.unfollowed ?? [],
    release: topic => {
      // However often the topic is subscribed to, until a connection follows it.
      for (let feed = node()?.feed; feed?.unfollowed.includes(topic) === true;) feed.unsubscribe([topic]);
    },
  };
}

function heldProbe(node: () => JoinedNode | undefined): LeakProbe<string> {
  return {
    kind: 'held-frames',
    suspects: () => (node()?.feed.holdsForNothing === true ? ['log'] : []),
    release: () => node()?.feed.dropHeld(),
  };
}
