import { expect } from 'chai';
import { pendingSettings } from '../../../src/options/pending-settings.js';
import { refusal } from './refusal.js';

describe('pendingSettings', () => {
  it('is empty for defaults', () => {
    expect(pendingSettings({})).to.be.empty;
    expect(pendingSettings()).to.be.empty;
  });

  it('does not report undefined, empty groups and empty variables', () => {
    const input = { redis: { url: undefined }, script: {}, control: undefined };
    expect(pendingSettings(input, { SSE_REDIS_URL: '' })).to.be.empty;
  });

  it('does not report settings that work', () => {
    const input = {
      connection: { timeout: 5 },
      node: { id: 'a' },
      history: { topics: { a: false } },
      reliability: { gracefulShutdown: false, gracefulShutdownTimeout: 5 },
    } as const;
    expect(pendingSettings(input, { SSE_SEND_ACK: 'none', HOME: '/' })).to.be.empty;
  });

  it('reports a setting that is given its default', () => {
    expect(pendingSettings({ node: { lease: 15000 } })).to.deep.equal(['node.lease']);
  });

  it('reports false', () => {
    expect(pendingSettings({ redis: { enabled: false } })).to.deep.equal(['redis.enabled']);
  });

  it('reports those of the environment', () => {
    expect(pendingSettings({}, { SSE_REDIS_URL: 'redis://host' })).to.deep.equal(['redis.url']);
  });

  it('reports a setting once, sorted by path', () => {
    const input = { script: { retryCount: 1 }, redis: { url: 'redis://a', client: {} } };
    expect(pendingSettings(input, { SSE_REDIS_URL: 'redis://b' })).to.deep.equal([
      'redis.client',
      'redis.url',
      'script.retryCount',
    ]);
  });

  it('reports everything that is pending', () => {
    const given = {
      redis: { prefix: 'x' },
      script: { retryInterval: 1 },
      atomicOperation: { redisAtomicEnabled: false },
      consistency: { enabled: false },
      resilience: { send: { timeout: 1 } },
      reliability: {
        enabled: false,
        cleanupRetryCount: 1,
        cleanupRetryInterval: 1,
        resourceLeakDetection: false,
        leakDetectionInterval: 1,
      },
      node: { lease: 6000, heartbeat: 1 },
      onUnavailable: 'reject',
      control: { secret: 'sixteen-and-more' },
    } as const;
    expect(pendingSettings(given)).to.deep.equal([
      'atomicOperation.redisAtomicEnabled',
      'consistency.enabled',
      'control.secret',
      'node.heartbeat',
      'node.lease',
      'onUnavailable',
      'redis.prefix',
      'reliability.cleanupRetryCount',
      'reliability.cleanupRetryInterval',
      'reliability.enabled',
      'reliability.leakDetectionInterval',
      'reliability.resourceLeakDetection',
      'resilience.send.timeout',
      'script.retryInterval',
    ]);
  });
});

describe('settings whose work is pending', () => {
  describe('redis', () => {
    it('is validated', () => {
      expect(refusal({ redis: { connectionTtl: 0 } })).to.match(/^redis\.connectionTtl must be/);
    });
    it('redis.enabled joins the nodes of one Redis into a cluster');
    it('redis.prefix names every key');
    it('redis.connectionTtl ends a route that is no longer refreshed');
    it('redis.channel carries the broadcasts');
    it('redis.url is connected to and closed with the service');
    it('redis.client is used and never closed');
    it('redis.username and redis.password sign in');
    it('redis.partitions spreads the keys over that many hash slots');
    it('redis.pubsub sharded uses SPUBLISH and SSUBSCRIBE');
  });

  describe('script', () => {
    it('is validated', () => {
      expect(refusal({ script: { retryInterval: 0 } })).to.match(/^script\.retryInterval must/);
    });
    it('script.retryCount bounds the further tries of a script');
    it('script.retryInterval lies between two tries');
    it('script.scriptCacheEnabled false sends the text of the script each time');
  });

  describe('atomicOperation', () => {
    it('is validated', () => {
      const atomicOperation = { redisAtomicEnabled: 1 };
      expect(refusal({ atomicOperation })).to.match(/^atomicOperation\.redisAtomicEnabled must/);
    });
    it('atomicOperation.redisAtomicEnabled false uses no script for the registry');
    it('atomicOperation.luaScriptRetryCount bounds the further tries of a registry script');
    it('atomicOperation.luaScriptRetryInterval lies between two tries');
    it('atomicOperation.connectionRegistrationAtomic false registers in a pipeline');
    it('atomicOperation.connectionUnregistrationAtomic false unregisters in a pipeline');
    it('atomicOperation.expiredConnectionCleanupAtomic false removes dead routes in a pipeline');
  });

  describe('consistency', () => {
    it('is validated', () => {
      const consistency = { inconsistencyHandlingStrategy: 'ignore' };
      expect(refusal({ consistency })).to.match(/must be one of 'auto_correct', 'fail_fast'/);
    });
    it('consistency.enabled false compares nothing');
    it('consistency.statusCheckInterval lies between two comparisons');
    it('consistency.inconsistencyHandlingStrategy auto_correct repairs a lost route');
    it('consistency.inconsistencyHandlingStrategy fail_fast makes the node unready');
    it('consistency.interNodeSyncEnabled tells other nodes what was repaired');
    it('consistency.routeValidationInterval lies between two checks of the routes');
  });

  describe('resilience', () => {
    it('is validated', () => {
      const resilience = { publish: { concurrency: 0 } };
      expect(refusal({ resilience })).to.match(/^resilience\.publish\.concurrency must be/);
    });
    it('resilience timeout ends a call that takes too long');
    it('resilience concurrency and queue bound the calls of one kind');
    it('resilience breakerFailures open the circuit of one kind alone');
    it('resilience breakerCooldown lets one call try again');
  });

  describe('reliability', () => {
    it('is validated', () => {
      const reliability = { cleanupRetryCount: -1 };
      expect(refusal({ reliability })).to.match(/^reliability\.cleanupRetryCount must be/);
    });
    it('reliability.enabled false neither retries cleanups nor looks for leaks');
    it('reliability.cleanupRetryCount bounds the further tries of a failed cleanup');
    it('reliability.cleanupRetryInterval lies between two tries');
    it('reliability.resourceLeakDetection reports what is held without a connection');
    it('reliability.leakDetectionInterval lies between two looks');
  });

  describe('node', () => {
    it('is validated', () => {
      expect(refusal({ node: { heartbeat: 0 } })).to.match(/^node\.heartbeat must be/);
    });
    it('node.lease is the time after which a silent node counts as dead');
    it('node.heartbeat lies between two proofs of life');
  });

  describe('onUnavailable', () => {
    it('is validated', () => {
      expect(refusal({ onUnavailable: 'wait' })).to.match(/^onUnavailable must be one of/);
    });
    it('onUnavailable degrade serves new connections by this node alone');
    it('onUnavailable reject answers new connections with 503');
  });

  describe('control', () => {
    it('is validated', () => {
      expect(refusal({ control: { secret: 'short' } })).to.match(/^control\.secret must be/);
    });
    it('control.secret makes a node ignore commands that are not signed with it');
  });
});
