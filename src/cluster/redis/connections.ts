import type { Cluster, Redis } from 'ioredis';
import { SseError } from '../../errors.js';
import { pause, withTimeout } from '../../time.js';
import {
  backoff,
  clientFor,
  clusterOptions,
  commandOptions,
  isCluster,
  Login,
  prepare,
  type Quietly,
  type RedisAddress,
  subscriberOptions,
} from './client.js';
import { askServer, atReplica, clusterObstacleOf, obstacleOf, refusalIn, type ServerInfo } from './failures.js';
import { hashSlot, SLOTS } from './keys.js';
import { Silence } from './silence.js';

/** The listener of the connection for commands. No method may throw. */
interface ConnectionEvents {
  /** Calls can be sent: to this master, or to the masters of a Redis Cluster, of which this is one, if any answered. */
  onOpen(server: ServerInfo | undefined): void;
  onClose(): void;
  /** Why a connection failed. */
  onError(failure: unknown): void;
}

/**
 * Makes the connections of one node: one for commands, and one for each subscriber. All lead to the same master: a
 * connection that arrives at a replica is refused, unless the master became one: then the node goes on without writes, and
 * moves as soon as the address leads to a master. One that stayed behind when the master moved is noticed. A client of
 * the application is only copied (single Redis, Sentinel, Redis Cluster); it is never used, changed or closed. No connection
 * opens before `open`.
 */
export class RedisConnections {
  /** For commands. */
  readonly command: Redis | Cluster;
  readonly silence = new Silence(key => this.connectionOf(key));
  /** The master at which the connection for commands is open; none in a Redis Cluster. */
  #server: ServerInfo | undefined;
  readonly #cluster: Cluster | undefined;
  readonly #login: Login;
  /** The nodes of a Redis Cluster by host and port. */
  readonly #nodes = new Map<string, Redis>();
  /** The slots of a Redis Cluster by hash tag. */
  readonly #slots = new Map<string, number>();
  readonly #servers = new WeakMap<Redis, ServerInfo>();
  /** Chooses the master of a Redis Cluster for classic publications. */
  #choice = Math.floor(Math.random() * SLOTS);
  /** Connections in a row that did not serve. */
  #fruitless = 0;
  /** Moves in a row that did not bring commands and subscriptions to one server. */
  #disputes = 0;
  #failure: Error | undefined;
  /** What went wrong in the present try to connect. */
  #trouble: Error | undefined;
  /** What the Redis said before it closed the present connection at once. */
  #refusal: Error | undefined;
  #served = false;
  #everServed = false;
  #firstTry: ((failure: Error | undefined) => void) | undefined;

  /** @throws SseError `INVALID_OPTION` when there is no address, or the client cannot be copied. */
  constructor(
    address: RedisAddress,
    private readonly events: ConnectionEvents,
    private readonly quietly: Quietly = work => work(),
  ) {
    this.#login = new Login(address, error => this.events.onError(error));
    const nextTry = (): number => this.#nextTry();
    this.command = clientFor(address, {
      single: { ...commandOptions(() => !this.#atReplica), retryStrategy: nextTry },
      cluster: { ...clusterOptions(), clusterRetryStrategy: nextTry },
    });
    this.#cluster = isCluster(this.command) ? this.command : undefined;
    this.#watch();
  }

  /** Whether it is a Redis Cluster. */
  get cluster(): boolean {
    return this.#cluster !== undefined;
  }

  /** Why no connection for commands is open. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Number of the database; 0 in a Redis Cluster, which has no other. */
  get database(): number {
    return isCluster(this.command) ? 0 : (this.command.options.db ?? 0);
  }

  /** Whether the master became a replica, which refuses writes, and no other master is known. */
  get #atReplica(): boolean {
    return this.#server?.role === 'slave';
  }

  /**
   * Connects for commands, in a Redis Cluster to every master that answers.
   * @throws the client's error when the first try fails, or an SseError `INVALID_OPTION` when the Redis cannot serve; the
   * client goes on trying
   */
  async open(): Promise<void> {
    await this.#login.refresh();
    if (!isCluster(this.command)) this.#login.applyTo(this.command);
    const ended = new Promise<Error | undefined>(resolve => {
      this.#firstTry = resolve;
      // The close of the connection follows, and has the reason.
      this.command.connect().catch(() => undefined);
    });
    const failure = await withTimeout(ended, FIRST_TRY, () => this.#trouble ?? new Error('not ready'));
    this.#firstTry = undefined;
    if (failure !== undefined) throw failure;
  }

  /**
   * A new connection to subscribe with. It is not connected yet, and does not reconnect. In a Redis Cluster it goes to the
   * master of `near`, a key or sharded channel; without one, to a master that `id` chooses and that changes with `attempt`,
   * so that nodes spread over the masters.
   * @throws SseError `UNAVAILABLE` when no such master is known at present.
   */
  async subscriber(attempt: number, id: string, near?: string): Promise<Redis> {
    // The connection before may have ended because slots or masters moved. This takes effect with the next attempt.
    if (attempt > 0) this.#cluster?.refreshSlotsCache(() => undefined);
    await this.#login.refresh();
    const pattern = isCluster(this.command) ? master(this.command, hashSlot(id) + attempt, near) : this.command;
    if (pattern === undefined) {
      throw new SseError('UNAVAILABLE', 'a master of the Redis Cluster must be known, got none yet');
    }
    const connection = pattern.duplicate(subscriberOptions());
    this.#login.applyTo(connection);
    prepare(connection, this.quietly);
    return connection;
  }

  /**
   * Admits a new connection for a subscriber. On a single Redis it must be at a master. When that is another one than that of
   * the commands, these reconnect: the newer connection went where the address leads now.
   * @throws SseError `UNAVAILABLE` when it is at a replica, and the commands are not
   */
  async admit(connection: Redis): Promise<void> {
    if (this.#cluster !== undefined) return;
    const server = await askServer(connection);
    if (server.role === 'slave' && !this.#atReplica) throw atReplica();
    this.#servers.set(connection, server);
    this.follow(server);
  }

  /** Reconnects when a newer connection of this node is at another server: it went where the address leads now. */
  follow(server: ServerInfo | undefined): void {
    if (server === undefined || this.#agree(server)) this.#disputes = 0;
    else if (this.#mayMove()) this.command.disconnect(true);
  }

  /** Why a subscriber's connection is no longer at the right master; `undefined` when it is, as far as known. */
  misplaced(connection: Redis, near?: string): string | undefined {
    if (this.#cluster !== undefined) {
      const address = addressOf(connection);
      if (!isMaster(this.#cluster, address, near)) return 'its slots have another master';
      const calls = near === undefined ? this.#nodes.get(address) : undefined;
      return calls !== undefined && this.silence.isSilent(calls) ? 'its master is silent' : undefined;
    }
    const server = this.#servers.get(connection);
    if (server === undefined || this.#agree(server) || !this.#mayMove()) return undefined;
    return 'commands go to another server';
  }

  /**
   * The connection on which commands for a key or channel go. In a Redis Cluster `undefined` while the master is not known, and
   * for a name without a hash tag.
   */
  connectionOf(key: string): Redis | undefined {
    if (!isCluster(this.command)) return this.command;
    const open = key.indexOf('{');
    if (open < 0) return undefined;
    const tag = key.slice(open + 1, key.indexOf('}', open));
    let slot = this.#slots.get(tag);
    if (slot === undefined) {
      slot = hashSlot(key);
      this.#slots.set(tag, slot);
    }
    return this.#nodes.get(this.command.slots[slot]?.[0] ?? '');
  }

  /** The connection for classic publications: in a Redis Cluster any master takes them. One is kept, for their order. */
  get publisher(): Redis | Cluster {
    return (this.#cluster && master(this.#cluster, this.#choice)) ?? this.command;
  }

  /** To be called when a publisher did not answer: another master takes what follows. */
  leavePublisher(client: Redis | Cluster): void {
    if (client === this.publisher) this.#choice += 1;
  }

  #watch(): void {
    const { command } = this;
    const cluster = this.#cluster;
    command.on('error', (failure: unknown) => this.#fail(failure));
    command.on('ready', () => void (cluster === undefined ? this.#openSingle() : this.#openCluster(cluster)));
    command.on('connecting', () => {
      this.#trouble = undefined;
      this.#refusal = undefined;
    });
    command.on('close', () => {
      this.#server = undefined;
      const closed = new Error(this.#served ? 'the connection broke' : 'Connection is closed.');
      this.#failure = this.#refusal ?? this.#trouble ?? closed;
      this.#served = false;
      this.#firstTry?.(this.#failure);
      this.events.onClose();
    });
    if (!isCluster(command)) {
      prepare(command, this.quietly);
      command.on('connect', () => {
        command.stream.once('data', (first: Buffer) => {
          this.#refusal = refusalIn(first);
        });
      });
    }
    if (cluster !== undefined) this.#watchNodes(cluster);
  }

  #watchNodes(cluster: Cluster): void {
    // A node connects once, with its first command, and is made anew after it was lost.
    cluster.on('+node', (node: Redis) => {
      this.#login.applyTo(node);
      prepare(node, this.quietly);
      this.#nodes.set(addressOf(node), node);
      if (cluster.status === 'ready') void wakeMasters(cluster);
    });
    cluster.on('-node', (node: Redis) => {
      void this.#login.refresh();
      if (this.#nodes.get(addressOf(node)) === node) this.#nodes.delete(addressOf(node));
    });
    cluster.on('node error', (failure: unknown) => {
      void this.#login.refresh();
      this.#fail(failure);
    });
  }

  /** Serves commands once the connection is at a master that can serve. */
  async #openSingle(): Promise<void> {
    const { command } = this;
    if (isCluster(command)) return;
    const { stream } = command;
    try {
      // ioredis goes on in database 0 when the one that was asked for cannot be selected.
      if (this.#trouble !== undefined) throw this.#trouble;
      const server = await askServer(command);
      if (command.stream !== stream || command.status !== 'ready') return;
      const obstacle = obstacleOf(server);
      if (obstacle !== undefined && !(server.role === 'slave' && this.#everServed)) throw obstacle;
      this.#server = server;
      this.#serve(server);
      if (this.#atReplica) void this.#seekMaster(command);
    } catch (failure) {
      if (command.stream !== stream) return;
      this.#fail(failure);
      this.#failure = this.#trouble;
      this.#firstTry?.(this.#trouble);
      command.disconnect(true);
    }
  }

  async #openCluster(cluster: Cluster): Promise<void> {
    await withTimeout(wakeMasters(cluster), LONGEST_WAKING, () => undefined);
    const [some] = cluster.nodes('master').filter(({ status }) => status === 'ready');
    const server = some && (await askServer(some).catch(() => undefined));
    if (cluster.status !== 'ready') return;
    const obstacle = server && clusterObstacleOf(server);
    if (obstacle !== undefined) {
      this.#fail(obstacle);
      this.#firstTry?.(obstacle);
      return;
    }
    this.#serve(server);
  }

  /** Reconnects as soon as the address leads to a master. */
  async #seekMaster(command: Redis): Promise<void> {
    const here = this.#server;
    while (this.#server === here) {
      await pause(SEEK_MS);
      const probe = command.duplicate(subscriberOptions());
      this.#login.applyTo(probe);
      prepare(probe, this.quietly);
      try {
        await probe.connect();
        const { role } = await askServer(probe);
        if (role !== 'slave' && this.#server === here) command.disconnect(true);
      } catch (failure) {
        this.events.onError(failure);
      } finally {
        probe.disconnect();
      }
    }
  }

  #serve(server: ServerInfo | undefined): void {
    this.#fruitless = 0;
    this.#failure = undefined;
    this.#served = true;
    this.#everServed = true;
    this.events.onOpen(server);
    this.#firstTry?.(undefined);
  }

  #fail(failure: unknown): void {
    this.#trouble = failure instanceof Error ? failure : new Error(String(failure));
    this.events.onError(failure);
  }

  /** Milliseconds before the next try. It uses the user and password of that time. */
  #nextTry(): number {
    const { command } = this;
    void this.#login.refresh().then(() => {
      if (!isCluster(command)) this.#login.applyTo(command);
    });
    return backoff(this.#fruitless++);
  }

  /** Whether a server is that of the commands, as far as known. */
  #agree({ runId }: ServerInfo): boolean {
    const known = this.#server?.runId ?? '';
    return runId === '' || known === '' || runId === known;
  }

  /** An address that leads to several masters cannot be settled by moves. */
  #mayMove(): boolean {
    this.#disputes += 1;
    if (this.#disputes === MOST_MOVES + 1) {
      const rule = 'the address of Redis must lead to one master, got several by turns';
      const next = 'give an address that leads to one, or Sentinels';
      this.events.onError(new SseError('UNAVAILABLE', `${rule}; ${next}`));
    }
    return this.#disputes <= MOST_MOVES;
  }
}

/** Milliseconds between two looks for a master, from a replica. */
const SEEK_MS = 500;
/** Moves after which a node stays where it is, although commands and subscriptions are at two servers. */
const MOST_MOVES = 6;

/** Milliseconds that a new connection to a Redis Cluster waits for masters that do not answer. */
const LONGEST_WAKING = 500;

/** Connects to each master. A master that does not answer is tried again by the commands that need it. */
async function wakeMasters(cluster: Cluster): Promise<void> {
  // ioredis connects a master with its first command, and fails the commands that come meanwhile. So each master gets a
  // ping; not before ready, because ioredis' own check would fail then.
  await Promise.all(cluster.nodes('master').map(node => node.ping().catch(() => undefined)));
}

/** Whether a classic channel has a subscriber at any master, or at one that does not say. */
export async function isHeard(cluster: Cluster, channel: string): Promise<boolean> {
  const answers = cluster.nodes('master').map(master => master.pubsub('NUMSUB', channel).catch(() => undefined));
  return (await Promise.all(answers)).some(answer => answer?.[1] !== 0);
}

/** Milliseconds after which a connection that is not ready counts as failed; Redis may be loading its data. */
const FIRST_TRY = 3_000;

/** The master of `near`; without one, a master that `choice` names, of those that answered when they were connected. */
function master(cluster: Cluster, choice: number, near?: string): Redis | undefined {
  const masters = cluster.nodes('master');
  if (near !== undefined) return masters.find(node => isMaster(cluster, addressOf(node), near));
  const ready = masters.filter(({ status }) => status === 'ready');
  const some = ready.length > 0 ? ready : masters;
  return some[choice % some.length];
}

function addressOf({ options: { host, port } }: Redis): string {
  return `${host ?? ''}:${port ?? ''}`;
}

/** Whether an address is that of the master of `near`; without one, of any master. */
function isMaster(cluster: Cluster, address: string, near: string | undefined): boolean {
  if (near !== undefined) return cluster.slots[hashSlot(near)]?.[0] === address;
  return cluster.nodes('master').some(node => addressOf(node) === address);
}
