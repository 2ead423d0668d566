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
    expect(pendingSettings({ atomicOperation: { redisAtomicEnabled: true } })).to.deep.equal([
      'atomicOperation.redisAtomicEnabled',
    ]);
  });

  it('reports false', () => {
    expect(pendingSettings({ atomicOperation: { redisAtomicEnabled: false } })).to.deep.equal([
      'atomicOperation.redisAtomicEnabled',
    ]);
  });

  it('reports those of the environment', () => {
    const env = { SSE_ATOMIC_OPERATION_REDIS_ATOMIC_ENABLED: 'true' };
    expect(pendingSettings({}, env)).to.deep.equal(['atomicOperation.redisAtomicEnabled']);
  });

  it('reports a setting once, sorted by path', () => {
    const atomicOperation = { redisAtomicEnabled: true, connectionRegistrationAtomic: true };
    const env = { SSE_ATOMIC_OPERATION_REDIS_ATOMIC_ENABLED: 'false' };
    expect(pendingSettings({ atomicOperation }, env)).to.deep.equal([
      'atomicOperation.connectionRegistrationAtomic',
      'atomicOperation.redisAtomicEnabled',
    ]);
  });

  it('reports everything that is pending', () => {
    const given = {
      atomicOperation: { redisAtomicEnabled: false, expiredConnectionCleanupAtomic: false },
      consistency: { enabled: false },
    } as const;
    expect(pendingSettings(given)).to.deep.equal([
      'atomicOperation.expiredConnectionCleanupAtomic',
      'atomicOperation.redisAtomicEnabled',
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
});
