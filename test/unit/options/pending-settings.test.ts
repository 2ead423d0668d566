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
    expect(pendingSettings({ script: { retryCount: 3 } })).to.deep.equal(['script.retryCount']);
  });

  it('reports false', () => {
    expect(pendingSettings({ consistency: { enabled: false } })).to.deep.equal([
      'consistency.enabled',
    ]);
  });

  it('reports those of the environment', () => {
    expect(pendingSettings({}, { SSE_SCRIPT_RETRY_COUNT: '1' })).to.deep.equal([
      'script.retryCount',
    ]);
  });

  it('reports a setting once, sorted by path', () => {
    const input = { script: { retryInterval: 1, retryCount: 1 } };
    expect(pendingSettings(input, { SSE_SCRIPT_RETRY_COUNT: '2' })).to.deep.equal([
      'script.retryCount',
      'script.retryInterval',
    ]);
  });

  it('reports everything that is pending', () => {
    const given = {
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
    } as const;
    expect(pendingSettings(given)).to.deep.equal([
      'atomicOperation.redisAtomicEnabled',
      'consistency.enabled',
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
  describe('script', () => {
    it('is validated', () => {
      expect(refusal({ script: { retryInterval: 0 } })).to.match(/^script\.retryInterval must/);
    });
    it('script.retryCount bounds the further tries of a script');
    it('script.retryInterval lies between two tries');
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
});
