import { hostname } from 'node:os';
import { expect } from 'chai';
import { type BindToFluentSyntax, Container, inject, injectable, type ServiceIdentifier } from 'inversify';
import { type SinonFakeTimers, useFakeTimers } from 'sinon';
import { LocalCoordinator } from '../../src/cluster/memory/coordinator.js';
import { sseModule } from '../../src/container.js';
import { ClusterCoordinator } from '../../src/contracts/cluster.js';
import { Logger } from '../../src/contracts/logger.js';
import { ResiliencePolicy } from '../../src/contracts/policy.js';
import { SseService } from '../../src/contracts/service.js';
import { ConnectionStore } from '../../src/contracts/store.js';
import { SseError, type SseErrorCode } from '../../src/errors.js';
import { MemoryConnectionStore } from '../../src/node/store.js';
import { ResolvedSseOptions, type SseOptions } from '../../src/options/sse-options.js';
import { CockatielPolicy, PassthroughPolicy } from '../../src/resilience/policies.js';
import { ConsoleLogger } from '../../src/telemetry/telemetry.js';
import { FakeSink } from '../support/fake-sink.js';
import { RecordingLogger } from '../support/recording-logger.js';

const LIMIT = { takeoverLimit: 5, takeoverWindow: 30_000 };

class OwnStore extends MemoryConnectionStore {}

/** Needs something of the application's, to show that the container builds it. */
@injectable()
class OwnPolicy extends PassthroughPolicy {
  constructor(@inject('region') readonly region: string) {
    super();
  }
}

class ClosingCoordinator extends LocalCoordinator {
  starts = 0;
  closes = 0;

  override async start(...args: Parameters<LocalCoordinator['start']>): Promise<void> {
    this.starts += 1;
    await super.start(...args);
  }

  override async close(): Promise<void> {
    this.closes += 1;
    await super.close();
  }
}

describe('sseModule', () => {
  let container: Container;
  const environment = new Map<string, string | undefined>();

  beforeEach(() => {
    container = new Container();
  });
  afterEach(async () => {
    await unbindAll(container);
    for (const [name, value] of environment) {
      if (value === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = value;
    }
    environment.clear();
  });

  const setEnvironment = (name: string, value: string): void => {
    environment.set(name, process.env[name]);
    process.env[name] = value;
  };
  const refusal = (make: () => unknown): SseErrorCode | undefined => {
    try {
      make();
    } catch (error) {
      if (SseError.is(error)) return error.code;
      throw error;
    }
    return undefined;
  };

  it('binds every service to its default', () => {
    container.load(sseModule());
    expect(container.get(ConnectionStore)).to.be.instanceOf(MemoryConnectionStore);
    expect(container.get(ClusterCoordinator)).to.be.instanceOf(LocalCoordinator);
    expect(container.get(ResiliencePolicy)).to.be.instanceOf(PassthroughPolicy);
    expect(container.get(Logger)).to.be.instanceOf(ConsoleLogger);
  });

  it('guards calls that can fail: those to Redis, and those to a coordinator of your own', () => {
    container.load(sseModule({ redis: { url: 'redis://127.0.0.1:1' } }));
    expect(container.get(ResiliencePolicy)).to.be.instanceOf(CockatielPolicy);
    const another = new Container();
    another.load(sseModule({}, { clusterCoordinator: new LocalCoordinator('a', LIMIT) }));
    expect(another.get(ResiliencePolicy)).to.be.instanceOf(CockatielPolicy);
  });

  it('makes each service once', () => {
    container.load(sseModule());
    for (const service of [SseService, ConnectionStore, ClusterCoordinator, Logger] as const) {
      expect(container.get<unknown>(service)).to.equal(container.get<unknown>(service));
    }
  });

  it('resolves settings from the options', () => {
    container.load(sseModule({ node: { id: 'mine' }, connection: { maxConnections: 7 } }));
    expect(container.get(ResolvedSseOptions).connection.maxConnections).to.equal(7);
    expect(container.get(SseService).nodeId).to.equal('mine');
  });

  it('lets the environment win', () => {
    setEnvironment('SSE_CONNECTION_MAX_CONNECTIONS', '9');
    container.load(sseModule({ connection: { maxConnections: 7 } }));
    expect(container.get(ResolvedSseOptions).connection.maxConnections).to.equal(9);
  });

  it('reads the environment by the prefix of the application, or not at all', () => {
    setEnvironment('SSE_CONNECTION_MAX_CONECTIONS', '9');
    setEnvironment('MYAPP_NODE_ID', 'mine');
    container.load(sseModule({}, { environment: { prefix: 'MYAPP_' } }));
    expect(container.get(SseService).nodeId).to.equal('mine');
    sseModule({}, { environment: false });
  });

  it('logs which host and process the node is, and in what nodes meet', () => {
    const logger = new RecordingLogger();
    container.load(sseModule({ node: { id: 'a' } }, { logger }));
    container.get(SseService);
    const fields = { nodeId: 'a', cluster: 'local', host: hostname(), pid: process.pid };
    expect(logger.lines).to.deep.equal([{ level: 'info', message: 'this process is a node', fields }]);
  });

  it('refuses an override of an unknown name', () => {
    // As a JavaScript caller may write it.
    const misspelt = { loger: new RecordingLogger() } as object;
    expect(() => sseModule({}, misspelt)).to.throw(/^sseModule has no option "loger"; did you mean logger\?$/);
  });

  it('refuses an override among the settings, and one that would never be called', () => {
    const logger = new RecordingLogger();
    const wrong = (value: object): never => value as never;
    for (const [make, message] of [
      [() => sseModule(wrong({ logger })), 'logger is not a setting; give it apart: sseModule({}, { logger })'],
      [() => sseModule({}, { logger: wrong(() => logger) }), 'logger of sseModule must be a class or an object'],
      [() => sseModule({}, { logger: wrong({ info: () => undefined }) }), 'debug, info, warn, error; add debug'],
    ] as const) {
      expect(refusal(make)).to.equal('INVALID_OPTION');
      expect(make).to.throw(message);
    }
  });

  it('refuses wrong settings at once', () => {
    expect(refusal(() => sseModule({ connection: { maxConnections: 0 } }))).to.equal('INVALID_OPTION');
  });

  it('refuses wrong settings of the environment at once', () => {
    setEnvironment('SSE_CONNECTION_MAX_CONECTIONS', '9');
    expect(refusal(() => sseModule())).to.equal('INVALID_OPTION');
  });

  it('refuses a client that is none of ioredis', () => {
    container.load(sseModule({ redis: { client: {} } }));
    expect(() => container.get(ClusterCoordinator)).to.throw(/redis\.client must be a Redis/);
  });

  it('meets other nodes in the Redis that the environment names', async () => {
    setEnvironment('SSE_REDIS_URL', 'redis://127.0.0.1:1');
    container.load(sseModule());
    expect(container.get(ClusterCoordinator).kind).to.equal('redis');
    await container.get(ClusterCoordinator).close();
  });

  it('takes Redis settings for a coordinator of the application’s own', () => {
    const clusterCoordinator = new LocalCoordinator('n', LIMIT);
    container.load(sseModule({ redis: { url: 'redis://localhost' } }, { clusterCoordinator }));
    expect(container.get(ClusterCoordinator)).to.equal(clusterCoordinator);
  });

  describe('with services of the application’s own', () => {
    it('builds a class, once', () => {
      container.load(sseModule({}, { connectionStore: OwnStore }));
      expect(container.get(ConnectionStore)).to.be.instanceOf(OwnStore);
      expect(container.get(ConnectionStore)).to.equal(container.get(ConnectionStore));
    });

    it('builds a class with what it depends on', () => {
      container.bind('region').toConstantValue('north');
      container.load(sseModule({}, { resiliencePolicy: OwnPolicy }));
      expect(container.get(ResiliencePolicy)).to.be.instanceOf(OwnPolicy).and.include({
        region: 'north',
      });
    });

    it('takes an object as it is', () => {
      const connectionStore = new OwnStore();
      container.load(sseModule({}, { connectionStore }));
      expect(container.get(ConnectionStore)).to.equal(connectionStore);
    });

    it('uses them', async () => {
      const clusterCoordinator = new ClosingCoordinator('n', LIMIT);
      const logger = new RecordingLogger();
      container.load(sseModule({}, { clusterCoordinator, logger }));
      await container.get(SseService).start();
      expect(clusterCoordinator.starts).to.equal(1);
    });

    it('closes the coordinator of the application', async () => {
      const clusterCoordinator = new ClosingCoordinator('n', LIMIT);
      container.load(sseModule({}, { clusterCoordinator }));
      await container.get(SseService).start();
      await unbindAll(container);
      expect(clusterCoordinator.closes).to.equal(1);
    });

    it('asks a policy of the application’s own, which is one binding, before every call to the cluster', async () => {
      const kinds: string[] = [];
      const policy: ResiliencePolicy = {
        execute: (kind, operation) => {
          kinds.push(kind);
          return operation(new AbortController());
        },
        circuit: kind => (kind === 'send' ? 'open' : 'closed'),
      };
      container.load(sseModule());
      (await rebind(container, ResiliencePolicy)).toConstantValue(policy);
      const service = container.get(SseService);
      await service.start();
      await service.sendMessageToConnection('nobody', 'note', 'x');
      await service.publish('news', 'note', 'x');
      await service.nodes();
      expect(kinds).to.deep.equal(['send', 'publish', 'maintenance']);
      expect(service.health().reasons.map(({ code }) => code)).to.deep.equal(['CIRCUIT_OPEN']);
    });

    it('lets a service be rebound before the first use', async () => {
      container.load(sseModule());
      (await rebind(container, ConnectionStore)).to(OwnStore).inSingletonScope();
      const service = container.get(SseService);
      const store = container.get(ConnectionStore);
      expect(store).to.be.instanceOf(OwnStore);
      expect(service.getConnectionCount()).to.equal(0);
    });
  });

  describe('unbinding all', () => {
    let clock: SinonFakeTimers;

    beforeEach(() => {
      clock = useFakeTimers({
        toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
      });
    });
    afterEach(() => {
      clock.restore();
    });

    it('stops every timer', async () => {
      container.load(sseModule({ connection: { maxAge: 60_000 } }));
      const connection = await container.get(SseService).createConnection('a', new FakeSink());
      expect(clock.countTimers()).to.be.at.least(3);
      await unbindAll(container);
      expect(clock.countTimers()).to.equal(0);
      expect(await connection.closed).to.equal('shutdown');
    });

    it('is what closing the service does', async () => {
      container.load(sseModule({ connection: { maxAge: 60_000 } }));
      await container.get(SseService).createConnection('a', new FakeSink());
      await container.get(SseService).close();
      expect(clock.countTimers()).to.equal(0);
    });

    it('closes the service', async () => {
      container.load(sseModule());
      const service = container.get(SseService);
      await service.start();
      await unbindAll(container);
      expect(service.health().live).to.equal(false);
    });

    it('is harmless when nothing was used', async () => {
      container.load(sseModule());
      await unbindAll(container);
      expect(container.isBound(SseService)).to.equal(false);
    });

    it('is harmless after the service was closed', async () => {
      container.load(sseModule());
      await container.get(SseService).close();
      await unbindAll(container);
      expect(container.isBound(SseService)).to.equal(false);
    });

    const idle = {
      cleanup: { enabled: false },
      history: { enabled: false },
      reliability: { resourceLeakDetection: false },
      consistency: { enabled: false },
    };

    const timersOf = async (options: SseOptions): Promise<number> => {
      const own = new Container();
      own.load(sseModule(options));
      await own.get(SseService).start();
      const timers = clock.countTimers();
      await unbindAll(own);
      return timers;
    };

    it('has one timer to stop without maintenance: quiet clients get their position', async () => {
      expect(await timersOf(idle)).to.equal(1);
    });

    it('compares itself with the cluster, and looks at the routes of all, unless that is off', async () => {
      expect(await timersOf({ ...idle, consistency: {} })).to.equal(3);
    });

    it('detects leaks unless that, or all maintenance, is off', async () => {
      expect(await timersOf({ ...idle, reliability: {} })).to.equal(2);
      expect(await timersOf({ ...idle, reliability: { enabled: false } })).to.equal(1);
    });
  });

  it('shares nothing between two containers', async () => {
    const other = new Container();
    const module = sseModule({ node: { id: 'same' } });
    container.load(module);
    other.load(module);
    try {
      for (const service of [SseService, ConnectionStore, ClusterCoordinator, Logger] as const) {
        expect(container.get<unknown>(service)).to.not.equal(other.get<unknown>(service));
      }
      // Two nodes of one id could not live on one bus.
      await container.get(SseService).start();
      await other.get(SseService).start();
      expect(await container.get(SseService).nodes()).to.have.length(1);
      await other.get(SseService).close();
      expect(container.get(SseService).health().ready).to.equal(true);
    } finally {
      await unbindAll(other);
    }
  });
});

/** Inversify 7 has no `unbindAllAsync`; its `unbindAll` resolves. */
async function unbindAll(container: Container): Promise<void> {
  await container['unbindAllAsync' in container ? 'unbindAllAsync' : 'unbindAll']();
}

/** Of Inversify 7 it is a promise. */
async function rebind<T>(container: Container, identifier: ServiceIdentifier<T>): Promise<BindToFluentSyntax<T>> {
  return Promise.resolve(container.rebind(identifier));
}
