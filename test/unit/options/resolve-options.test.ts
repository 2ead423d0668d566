import { expect } from 'chai';
import { SseError } from '../../../src/errors.js';
import { resolveOptions } from '../../../src/options/sse-options.js';
import { refusal } from './refusal.js';

describe('resolveOptions', () => {
  describe('defaults', () => {
    it("has the seed's defaults", () => {
      const { connection, redis, script, cleanup, atomicOperation, consistency, reliability } = resolveOptions();
      expect(connection).to.include({ timeout: 30000, heartbeat: 30000, maxConnections: 1000 });
      expect(redis).to.include({ prefix: 'sse:', connectionTtl: 3600, channel: 'sse:events' });
      expect(script).to.deep.equal({
        retryCount: 3,
        retryInterval: 100,
        scriptCacheEnabled: true,
      });
      expect(cleanup).to.deep.equal({ enabled: true, interval: 60000, connectionTtl: 3600000 });
      expect(atomicOperation).to.deep.equal({
        redisAtomicEnabled: true,
        luaScriptRetryCount: 3,
        luaScriptRetryInterval: 100,
        connectionRegistrationAtomic: true,
        connectionUnregistrationAtomic: true,
        expiredConnectionCleanupAtomic: true,
      });
      expect(consistency).to.deep.equal({
        enabled: true,
        statusCheckInterval: 30000,
        inconsistencyHandlingStrategy: 'auto_correct',
        interNodeSyncEnabled: true,
        routeValidationInterval: 60000,
      });
      expect(reliability).to.deep.equal({
        enabled: true,
        cleanupRetryCount: 3,
        cleanupRetryInterval: 1000,
        gracefulShutdown: true,
        gracefulShutdownTimeout: 30000,
        resourceLeakDetection: true,
        leakDetectionInterval: 300000,
      });
    });

    it('has its own defaults for what the seed lacks', () => {
      const options = resolveOptions();
      expect(options.connection).to.include({
        maxAge: false,
        onDuplicate: 'takeover',
        takeoverLimit: 5,
        takeoverWindow: 30000,
        detach: 'auto',
      });
      expect(options.redis).to.include({ enabled: false, pubsub: 'classic' });
      expect(options.node).to.include({ lease: 15000, heartbeat: 5000 });
      expect(options.sendBuffer).to.deep.equal({
        maxBytes: 4194304,
        maxTotalBytes: 268435456,
        policy: 'disconnect',
        slice: 5,
      });
      expect(options.history).to.deep.equal({
        enabled: true,
        maxEntries: 1000,
        ttl: 300000,
        tail: 16777216,
        linger: 10000,
        maxBytes: 67_108_864,
        topics: {},
      });
      expect(options.send).to.deep.equal({ ack: 'owner', deadline: 3000, maxPending: 10000 });
      expect(options.limits).to.deep.equal({
        crossSite: 'refuse',
        maxClusterConnections: false,
        maxConnectionsPerUser: false,
        maxConnectionsPerAddress: false,
        maxConnectionsPerHttp2: 100,
        maxConnectsPerMinute: false,
        maxReplayBytesPerMinute: false,
        maxEventBytes: 1048576,
        maxTopicsPerConnection: 128,
      });
      expect(options.reconnect).to.deep.equal({
        retry: 2000,
        jitter: 5000,
        rate: 1000,
        drainDelay: 0,
        refusal: 'stream',
      });
      expect(options.onUnavailable).to.equal('degrade');
    });

    it('bounds every kind of operation alike', () => {
      const bounds = {
        timeout: 2000,
        concurrency: 256,
        queue: 10000,
        breakerFailures: 5,
        breakerCooldown: 1000,
        retries: 3,
        retryPause: 100,
      };
      expect(resolveOptions().resilience).to.deep.equal({
        register: bounds,
        replay: { ...bounds, timeout: 600_000, concurrency: 10_000 },
        send: { ...bounds, timeout: 600_000, concurrency: 10_000 },
        publish: bounds,
        command: { ...bounds, timeout: 5000, concurrency: 10_000 },
        maintenance: { ...bounds, retryPause: 1000 },
      });
    });

    it('repeats each kind of operation as the retry settings of its group say', () => {
      const { resilience } = resolveOptions({
        script: { retryCount: 1, retryInterval: 2 },
        atomicOperation: { luaScriptRetryCount: 3, luaScriptRetryInterval: 4 },
        reliability: { cleanupRetryCount: 5, cleanupRetryInterval: 6 },
      });
      expect(resilience.send).to.include({ retries: 1, retryPause: 2 });
      expect(resilience.publish).to.include({ retries: 1, retryPause: 2 });
      expect(resilience.replay).to.include({ retries: 1, retryPause: 2 });
      expect(resilience.register).to.include({ retries: 3, retryPause: 4 });
      expect(resilience.maintenance).to.include({ retries: 5, retryPause: 6 });
    });

    it('repeats no maintenance when reliability is off', () => {
      const { resilience } = resolveOptions({ reliability: { enabled: false } });
      expect(resilience.maintenance.retries).to.equal(0);
    });

    it('has a key for every setting without a default', () => {
      const { redis, control } = resolveOptions();
      expect(redis).to.include.keys('url', 'client', 'username', 'password', 'partitions');
      expect(control).to.deep.equal({ secret: undefined, maxAge: 60_000 });
    });

    it('makes up a new node id each time, which says nothing of host and process', () => {
      const { id } = resolveOptions().node;
      expect(id).not.to.equal(resolveOptions().node.id);
      expect(id).to.match(/^[0-9a-f]{16}$/);
    });

    for (const url of ['', ' ']) {
      it(`is one process with the url ${JSON.stringify(url)}`, () => {
        expect(resolveOptions({ redis: { url } }).redis).to.include({ enabled: false, url: undefined });
      });
    }

    it('enables Redis when a url is given', () => {
      expect(resolveOptions({ redis: { url: 'redis://host' } }).redis.enabled).to.be.true;
    });

    it('enables Redis when the environment gives a url', () => {
      expect(resolveOptions({}, { SSE_REDIS_URL: 'rediss://host' }).redis.enabled).to.be.true;
    });

    it('enables Redis when a client is given', () => {
      expect(resolveOptions({ redis: { client: {} } }).redis.enabled).to.be.true;
    });

    it('leaves Redis off when it is disabled', () => {
      const redis = { url: 'redis://host', enabled: false };
      expect(resolveOptions({ redis }).redis.enabled).to.be.false;
    });
  });

  describe('undefined', () => {
    it('means the default for a setting', () => {
      const options = resolveOptions({ connection: { timeout: undefined, maxConnections: 7 } });
      expect(options.connection).to.include({ timeout: 30000, maxConnections: 7 });
    });

    it('means the defaults for a group', () => {
      expect(resolveOptions({ connection: undefined }).connection.timeout).to.equal(30000);
      expect(resolveOptions({ resilience: { send: undefined } }).resilience.send.queue).to.equal(10000);
    });

    it('drops a topic pattern', () => {
      expect(resolveOptions({ history: { topics: { a: undefined } } }).history.topics).to.be.empty;
    });

    it('leaves a variable unset', () => {
      const options = resolveOptions({}, { SSE_CONNECTION_TIMEOUT: undefined });
      expect(options.connection.timeout).to.equal(30000);
    });
  });

  describe('the result', () => {
    it('is frozen at every depth', () => {
      const options = resolveOptions({ history: { topics: { a: { ttl: 5 } } } });
      const check = (value: unknown) => {
        if (typeof value !== 'object' || value === null) return;
        expect(value).to.be.frozen;
        Object.values(value).forEach(check);
      };
      check(options);
    });

    it('passes the client on as it is, neither copied nor frozen', () => {
      const client = { state: { ready: false } };
      const options = resolveOptions({ redis: { client } }, { SSE_REDIS_PREFIX: 'x:' });
      expect(options.redis.client).to.equal(client);
      expect(client).not.to.be.frozen;
      expect(client.state).not.to.be.frozen;
    });

    it('takes a client that is a function', () => {
      const client = () => undefined;
      expect(resolveOptions({ redis: { client } }).redis.client).to.equal(client);
      expect(client).not.to.be.frozen;
    });

    it('leaves the arguments unchanged', () => {
      const input = { connection: { timeout: 1 }, history: { topics: { a: { ttl: 5 } } } };
      const env = { SSE_CONNECTION_TIMEOUT: '2', SSE_NODE_LEASE: '60000' };
      resolveOptions(input, env);
      expect(input).to.deep.equal({
        connection: { timeout: 1 },
        history: { topics: { a: { ttl: 5 } } },
      });
      expect(input.history.topics.a).not.to.be.frozen;
      expect(env).to.deep.equal({ SSE_CONNECTION_TIMEOUT: '2', SSE_NODE_LEASE: '60000' });
    });

    it('does not change with its input', () => {
      const input = { history: { topics: { a: { ttl: 5 } } } };
      const options = resolveOptions(input);
      input.history.topics.a.ttl = 6;
      expect(options.history.topics).to.deep.equal({ a: { ttl: 5 } });
    });
  });

  describe('precedence', () => {
    it('is environment, input, default', () => {
      const { connection } = resolveOptions(
        { connection: { timeout: 1, maxConnections: 2 } },
        { SSE_CONNECTION_TIMEOUT: '3' },
      );
      expect(connection).to.include({ timeout: 3, maxConnections: 2, takeoverLimit: 5 });
    });

    it('lets an operator overrule a wrong value in the code', () => {
      const { connection } = resolveOptions({ connection: { timeout: -1 } }, { SSE_CONNECTION_TIMEOUT: '3' });
      expect(connection.timeout).to.equal(3);
    });

    it('replaces all topic patterns at once', () => {
      const { history } = resolveOptions(
        { history: { topics: { a: false } } },
        { SSE_HISTORY_TOPICS: '{"news/*":{"ttl":9}}' },
      );
      expect(history.topics).to.deep.equal({ 'news/*': { ttl: 9 } });
    });
  });

  describe('contradictions', () => {
    it('refuses Redis enabled without url and client', () => {
      expect(refusal({ redis: { enabled: true } })).to.equal(
        'redis.enabled must be false without redis.url and redis.client, got true',
      );
    });

    it('refuses a url together with a client', () => {
      expect(refusal({ redis: { url: 'redis://host', client: {} } })).to.equal(
        'redis.client must be absent when redis.url is given, got an object',
      );
    });

    for (const lease of [4999, 5000]) {
      it(`refuses a lease of ${lease} for a heartbeat of 5000`, () => {
        expect(refusal({ node: { lease } })).to.equal(
          `node.lease must be longer than node.heartbeat (5000), got ${lease}`,
        );
      });
    }

    it('takes a lease barely longer than its heartbeat', () => {
      expect(resolveOptions({ node: { lease: 5001 } }).node.lease).to.equal(5001);
    });

    it('refuses a process budget below that of one connection', () => {
      expect(refusal({ sendBuffer: { maxBytes: 2000000, maxTotalBytes: 1999999 } })).to.equal(
        'sendBuffer.maxTotalBytes must be at least sendBuffer.maxBytes (2000000), got 1999999',
      );
    });

    it('takes a process budget equal to that of one connection', () => {
      const sendBuffer = { maxBytes: 2000000, maxTotalBytes: 2000000 };
      expect(resolveOptions({ sendBuffer }).sendBuffer).to.include(sendBuffer);
    });

    it('refuses events larger than the process budget', () => {
      expect(refusal({ limits: { maxEventBytes: 268435457 } })).to.equal(
        'limits.maxEventBytes must be at most sendBuffer.maxTotalBytes (268435456), got 268435457',
      );
    });

    it('finds those between the environment and the code, and names the variable', () => {
      expect(refusal({ node: { heartbeat: 20000 } }, { SSE_NODE_LEASE: '10000' })).to.equal(
        'SSE_NODE_LEASE must be longer than node.heartbeat (20000), got 10000',
      );
    });
  });

  describe('errors', () => {
    it('carry the code INVALID_OPTION', () => {
      try {
        resolveOptions({ connection: { timeout: 0 } });
        expect.fail('not refused');
      } catch (error) {
        expect(SseError.is(error, 'INVALID_OPTION')).to.be.true;
      }
    });

    it('list all problems of one call, one per line', () => {
      const lines = refusal(
        { connection: { timeout: 0, heartbeet: 1 }, node: { lease: 1 }, onUnavailable: 'maybe' },
        { SSE_SEND_ACK: 'all', SSE_SENDACK: '1' },
      ).split('\n');
      expect(lines.map(line => line.split(' ')[0])).to.have.members([
        'SSE_SENDACK',
        'connection.timeout',
        'connection.heartbeet',
        'onUnavailable',
        'SSE_SEND_ACK',
        'node.lease',
      ]);
    });

    it('report no contradiction with a value that was refused by itself', () => {
      expect(refusal({ node: { lease: 1, heartbeat: 'x' } })).to.equal(
        'node.heartbeat must be a whole number of milliseconds from 1 to 2147483647, got "x"',
      );
    });

    it('mention a value once, whatever rules it breaks', () => {
      expect(refusal({ redis: { partitions: 2 ** 60 } }).split('\n')).to.have.lengthOf(1);
    });
  });
});
