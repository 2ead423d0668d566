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
      reliability: { gracefulShutdown: false, cleanupRetryCount: 1 },
      resilience: { send: { timeout: 5 } },
      atomicOperation: { luaScriptRetryCount: 1 },
    } as const;
    expect(pendingSettings(input, { SSE_SEND_ACK: 'none', HOME: '/' })).to.be.empty;
  });

  it('reports a setting that is given its default', () => {
    expect(pendingSettings({ consistency: { statusCheckInterval: 30_000 } })).to.deep.equal([
      'consistency.statusCheckInterval',
    ]);
  });

  it('reports false', () => {
    expect(pendingSettings({ consistency: { enabled: false } })).to.deep.equal([
      'consistency.enabled',
    ]);
  });

  it('reports those of the environment', () => {
    expect(pendingSettings({}, { SSE_CONSISTENCY_ENABLED: 'true' })).to.deep.equal([
      'consistency.enabled',
    ]);
  });

  it('reports a setting once, sorted by path', () => {
    const input = { consistency: { statusCheckInterval: 1, enabled: true } };
    expect(pendingSettings(input, { SSE_CONSISTENCY_ENABLED: 'false' })).to.deep.equal([
      'consistency.enabled',
      'consistency.statusCheckInterval',
    ]);
  });

  it('reports everything that is pending', () => {
    const given = {
      atomicOperation: { redisAtomicEnabled: false },
      consistency: { enabled: false },
    } as const;
    expect(pendingSettings(given)).to.deep.equal([
      'atomicOperation.redisAtomicEnabled',
      'consistency.enabled',
    ]);
  });
});

describe('settings whose work is pending', () => {
  describe('atomicOperation', () => {
    it('is validated', () => {
      const atomicOperation = { redisAtomicEnabled: 1 };
      expect(refusal({ atomicOperation })).to.match(/^atomicOperation\.redisAtomicEnabled must/);
    });
    it('atomicOperation.redisAtomicEnabled false uses no script for the registry');
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
});
