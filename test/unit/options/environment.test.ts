import { expect } from 'chai';
import { listSettings, resolveOptions } from '../../../src/options/sse-options.js';
import { refusal } from './refusal.js';

/** Every variable with a valid value other than the default, and what it becomes. */
const VARIABLES: Record<string, [text: string, value: unknown]> = {
  SSE_CONNECTION_TIMEOUT: ['41', 41],
  SSE_CONNECTION_HEARTBEAT: ['off', false],
  SSE_CONNECTION_MAX_CONNECTIONS: ['5000', 5000],
  SSE_CONNECTION_MAX_AGE: ['42', 42],
  SSE_CONNECTION_ON_DUPLICATE: ['reject', 'reject'],
  SSE_CONNECTION_TAKEOVER_LIMIT: ['43', 43],
  SSE_CONNECTION_DETACH: ['false', false],
  SSE_CONNECTION_TAKEOVER_WINDOW: ['44', 44],
  SSE_REDIS_ENABLED: ['false', false],
  SSE_REDIS_PREFIX: ['app:', 'app:'],
  SSE_REDIS_CONNECTION_TTL: ['45', 45],
  SSE_REDIS_CHANNEL: ['app:events', 'app:events'],
  SSE_REDIS_URL: ['redis://u:p@host:1/2', 'redis://u:p@host:1/2'],
  SSE_REDIS_USERNAME: ['user', 'user'],
  SSE_REDIS_PASSWORD: ['0123', '0123'],
  SSE_REDIS_PARTITIONS: ['16', 16],
  SSE_REDIS_PUBSUB: ['sharded', 'sharded'],
  SSE_SCRIPT_RETRY_COUNT: ['0', 0],
  SSE_SCRIPT_RETRY_INTERVAL: ['46', 46],
  SSE_SCRIPT_SCRIPT_CACHE_ENABLED: ['false', false],
  SSE_CLEANUP_ENABLED: ['0', false],
  SSE_CLEANUP_INTERVAL: ['47', 47],
  SSE_CLEANUP_CONNECTION_TTL: ['48', 48],
  SSE_ATOMIC_OPERATION_REDIS_ATOMIC_ENABLED: ['false', false],
  SSE_ATOMIC_OPERATION_LUA_SCRIPT_RETRY_COUNT: ['49', 49],
  SSE_ATOMIC_OPERATION_LUA_SCRIPT_RETRY_INTERVAL: ['50', 50],
  SSE_ATOMIC_OPERATION_CONNECTION_REGISTRATION_ATOMIC: ['false', false],
  SSE_ATOMIC_OPERATION_CONNECTION_UNREGISTRATION_ATOMIC: ['false', false],
  SSE_ATOMIC_OPERATION_EXPIRED_CONNECTION_CLEANUP_ATOMIC: ['false', false],
  SSE_CONSISTENCY_ENABLED: ['false', false],
  SSE_CONSISTENCY_STATUS_CHECK_INTERVAL: ['51', 51],
  SSE_CONSISTENCY_INCONSISTENCY_HANDLING_STRATEGY: ['fail_fast', 'fail_fast'],
  SSE_CONSISTENCY_INTER_NODE_SYNC_ENABLED: ['false', false],
  SSE_CONSISTENCY_ROUTE_VALIDATION_INTERVAL: ['52', 52],
  SSE_RELIABILITY_ENABLED: ['false', false],
  SSE_RELIABILITY_CLEANUP_RETRY_COUNT: ['53', 53],
  SSE_RELIABILITY_CLEANUP_RETRY_INTERVAL: ['54', 54],
  SSE_RELIABILITY_GRACEFUL_SHUTDOWN: ['false', false],
  SSE_RELIABILITY_GRACEFUL_SHUTDOWN_TIMEOUT: ['55', 55],
  SSE_RELIABILITY_RESOURCE_LEAK_DETECTION: ['false', false],
  SSE_RELIABILITY_LEAK_DETECTION_INTERVAL: ['56', 56],
  SSE_NODE_ID: ['42', '42'],
  SSE_NODE_LEASE: ['90000', 90000],
  SSE_NODE_HEARTBEAT: ['58', 58],
  SSE_SEND_BUFFER_MAX_BYTES: ['59', 59],
  SSE_SEND_BUFFER_MAX_TOTAL_BYTES: ['20000000', 20000000],
  SSE_SEND_BUFFER_SLICE: ['21', 21],
  SSE_SEND_BUFFER_POLICY: ['drop-oldest', 'drop-oldest'],
  SSE_HISTORY_ENABLED: ['false', false],
  SSE_HISTORY_MAX_ENTRIES: ['60', 60],
  SSE_HISTORY_TAIL: ['1000', 1_000],
  SSE_HISTORY_LINGER: ['1001', 1_001],
  SSE_HISTORY_TTL: ['61', 61],
  SSE_HISTORY_TOPICS: ['{"news/*":false}', { 'news/*': false }],
  SSE_MAILBOX_ENABLED: ['true', true],
  SSE_MAILBOX_MAX_ENTRIES: ['82', 82],
  SSE_MAILBOX_TTL: ['83', 83],
  SSE_SOURCE_MAX_ENTRIES: ['84', 84],
  SSE_SOURCE_TTL: ['85', 85],
  SSE_SOURCE_LEASE: ['86', 86],
  SSE_SEND_ACK: ['none', 'none'],
  SSE_SEND_DEADLINE: ['62', 62],
  SSE_SEND_MAX_PENDING: ['63', 63],
  SSE_CONFIRMATION_ENABLED: ['true', true],
  SSE_CONFIRMATION_TIMEOUT: ['96', 96],
  SSE_RESILIENCE_REGISTER_TIMEOUT: ['64', 64],
  SSE_RESILIENCE_REGISTER_CONCURRENCY: ['65', 65],
  SSE_RESILIENCE_REGISTER_QUEUE: ['66', 66],
  SSE_RESILIENCE_REGISTER_BREAKER_FAILURES: ['67', 67],
  SSE_RESILIENCE_REGISTER_BREAKER_COOLDOWN: ['68', 68],
  SSE_RESILIENCE_REPLAY_TIMEOUT: ['164', 164],
  SSE_RESILIENCE_REPLAY_CONCURRENCY: ['165', 165],
  SSE_RESILIENCE_REPLAY_QUEUE: ['166', 166],
  SSE_RESILIENCE_REPLAY_BREAKER_FAILURES: ['167', 167],
  SSE_RESILIENCE_REPLAY_BREAKER_COOLDOWN: ['168', 168],
  SSE_RESILIENCE_SEND_TIMEOUT: ['69', 69],
  SSE_RESILIENCE_SEND_CONCURRENCY: ['70', 70],
  SSE_RESILIENCE_SEND_QUEUE: ['71', 71],
  SSE_RESILIENCE_SEND_BREAKER_FAILURES: ['72', 72],
  SSE_RESILIENCE_SEND_BREAKER_COOLDOWN: ['73', 73],
  SSE_RESILIENCE_PUBLISH_TIMEOUT: ['74', 74],
  SSE_RESILIENCE_PUBLISH_CONCURRENCY: ['75', 75],
  SSE_RESILIENCE_PUBLISH_QUEUE: ['76', 76],
  SSE_RESILIENCE_PUBLISH_BREAKER_FAILURES: ['77', 77],
  SSE_RESILIENCE_PUBLISH_BREAKER_COOLDOWN: ['78', 78],
  SSE_RESILIENCE_MAINTENANCE_TIMEOUT: ['79', 79],
  SSE_RESILIENCE_MAINTENANCE_CONCURRENCY: ['80', 80],
  SSE_RESILIENCE_MAINTENANCE_QUEUE: ['81', 81],
  SSE_RESILIENCE_MAINTENANCE_BREAKER_FAILURES: ['82', 82],
  SSE_RESILIENCE_MAINTENANCE_BREAKER_COOLDOWN: ['83', 83],
  SSE_RESILIENCE_COMMAND_TIMEOUT: ['89', 89],
  SSE_RESILIENCE_COMMAND_CONCURRENCY: ['90', 90],
  SSE_RESILIENCE_COMMAND_QUEUE: ['91', 91],
  SSE_RESILIENCE_COMMAND_BREAKER_FAILURES: ['92', 92],
  SSE_RESILIENCE_COMMAND_BREAKER_COOLDOWN: ['93', 93],
  SSE_LIMITS_CROSS_SITE: ['https://a.example, http://b.example:8080', ['https://a.example', 'http://b.example:8080']],
  SSE_LIMITS_MAX_CLUSTER_CONNECTIONS: ['100', 100],
  SSE_LIMITS_MAX_CONNECTIONS_PER_USER: ['101', 101],
  SSE_LIMITS_MAX_CONNECTIONS_PER_ADDRESS: ['102', 102],
  SSE_LIMITS_MAX_CONNECTIONS_PER_HTTP2: ['off', false],
  SSE_LIMITS_MAX_CONNECTS_PER_MINUTE: ['103', 103],
  SSE_LIMITS_MAX_REPLAY_BYTES_PER_MINUTE: ['104', 104],
  SSE_GUARDS_MAX_PENDING: ['105', 105],
  SSE_LIMITS_MAX_EVENT_BYTES: ['84', 84],
  SSE_LIMITS_MAX_TOPICS_PER_CONNECTION: ['85', 85],
  SSE_CONNECTION_KEEP_ALIVE: ['94', 94],
  SSE_HISTORY_MAX_BYTES: ['2000000', 2_000_000],
  SSE_GUARDS_TIMEOUT: ['95', 95],
  SSE_GUARDS_RECHECK: ['95', 95],
  SSE_RECONNECT_RETRY: ['86', 86],
  SSE_RECONNECT_JITTER: ['87', 87],
  SSE_RECONNECT_DRAIN_DELAY: ['96', 96],
  SSE_RECONNECT_RATE: ['88', 88],
  SSE_RECONNECT_REFUSAL: ['status', 'status'],
  SSE_TELEMETRY_ENABLED: ['false', false],
  SSE_TELEMETRY_HIDE_CONNECTION_IDS: ['true', true],
  SSE_TELEMETRY_EVENT_NAMES: ['chat, tick', ['chat', 'tick']],
  SSE_TELEMETRY_BAGGAGE: ['true', true],
  SSE_TELEMETRY_TOPICS_IN_SPAN_NAMES: ['true', true],
  SSE_DISCLOSURE: ['message', 'message'],
  SSE_ON_UNAVAILABLE: ['reject', 'reject'],
  SSE_CONTROL_SECRET: ['sixteen-and-more\nseventeen-and-more', ['sixteen-and-more', 'seventeen-and-more']],
  SSE_CONTROL_MAX_AGE: ['20000', 20_000],
};

describe('environment', () => {
  it('has a variable for every setting but those that text cannot express', () => {
    const variables = listSettings().map(({ variable }) => variable);
    expect(variables.filter(name => name !== undefined)).to.have.members(Object.keys(VARIABLES));
    const without = listSettings().filter(({ variable }) => variable === undefined);
    expect(without.map(({ path }) => path)).to.deep.equal(['redis.client', 'redis.class', 'redis.credentials']);
  });

  for (const { path, variable } of listSettings()) {
    if (variable === undefined) continue;
    it(`sets ${path} by ${variable}`, () => {
      const [text, value] = VARIABLES[variable] ?? expect.fail('no example');
      const options = resolveOptions({}, { [variable]: text });
      expect(options).to.have.deep.nested.property(path, value);
    });
  }

  it('ignores variables of other programs', () => {
    resolveOptions({}, { SSE: '1', SSEX_TIMEOUT: '1', NODE_ENV: 'test', sse_node_id: 'x' });
  });

  it('counts empty and blank variables as unset', () => {
    const env = { SSE_NODE_ID: '', SSE_CONNECTION_TIMEOUT: ' ', SSE_NOPE: '' };
    const options = resolveOptions({ node: { id: 'a' } }, env);
    expect(options.node.id).to.equal('a');
    expect(options.connection.timeout).to.equal(30000);
  });

  for (const [text, value] of [
    ['true', true],
    ['TRUE', true],
    ['1', true],
    [' true ', true],
    ['false', false],
    ['False', false],
    ['0', false],
  ] as const) {
    it(`reads the flag ${JSON.stringify(text)} as ${String(value)}`, () => {
      expect(resolveOptions({}, { SSE_CLEANUP_ENABLED: text }).cleanup.enabled).to.equal(value);
    });
  }

  for (const text of ['yes', 'off', 'on', '2', 'null', 'constructor']) {
    it(`refuses the flag ${text}`, () => {
      expect(refusal({}, { SSE_CLEANUP_ENABLED: text })).to.equal(
        `SSE_CLEANUP_ENABLED must be true or false, got "${text}"`,
      );
    });
  }

  for (const text of ['false', 'FALSE', 'off', 'Off']) {
    it(`switches off by ${text}`, () => {
      const { connection } = resolveOptions({}, { SSE_CONNECTION_HEARTBEAT: text });
      expect(connection.heartbeat).to.be.false;
    });
  }

  for (const text of ['5s', '0x10', '1e3', '1_000', '٣', 'NaN', 'Infinity', '"5"', '+5', '.5']) {
    it(`refuses the number ${text}`, () => {
      expect(refusal({}, { SSE_CONNECTION_TIMEOUT: text })).to.equal(
        'SSE_CONNECTION_TIMEOUT must be a whole number of milliseconds from 1 to 2147483647, ' +
          `got ${JSON.stringify(text)}`,
      );
    });
  }

  it('names the variable of a number out of range', () => {
    expect(refusal({}, { SSE_CONNECTION_TIMEOUT: '-5' })).to.match(/^SSE_CONNECTION_TIMEOUT must be .*, got -5$/);
  });

  it('names the variable of an unknown word', () => {
    expect(refusal({}, { SSE_SEND_ACK: 'all' })).to.equal(`SSE_SEND_ACK must be one of 'owner', 'none', got "all"`);
  });

  it('refuses off where a setting has no off', () => {
    expect(refusal({}, { SSE_NODE_LEASE: 'off' })).to.match(/^SSE_NODE_LEASE must be .*"off"$/);
  });

  it('does not take a client', () => {
    expect(refusal({}, { SSE_REDIS_CLIENT: 'x' })).to.equal(
      'SSE_REDIS_CLIENT cannot be set in the environment; give redis.client to sseModule',
    );
  });

  // What Kubernetes 1.33 sets in every container of a namespace with these Services.
  for (const service of ['SSE', 'SSE_REDIS', 'SSE_NODE', 'SSE_CONNECTION_TIMEOUT']) {
    it(`ignores a Service of Kubernetes whose variables begin with ${service}`, () => {
      const names = ['SERVICE_HOST', 'SERVICE_PORT', 'SERVICE_PORT_HTTP', 'PORT', 'PORT_80_TCP', 'PORT_53_UDP'];
      const parts = ['PROTO', 'PORT', 'ADDR'].map(part => `PORT_80_TCP_${part}`);
      resolveOptions(
        {},
        Object.fromEntries([...names, ...parts].map(name => [`${service}_${name}`, 'tcp://10.0.0.1:80'])),
      );
    });
  }

  it('ignores variables of other programs that begin the same way', () => {
    const foreign = [
      'KMS_KEY_ID',
      'CUSTOMER_ALGORITHM',
      'BUCKET',
      'TOKEN',
      'X',
      'NODE_NAME',
      'REDIS_HOST',
      'LOG_LEVEL',
    ];
    resolveOptions({}, Object.fromEntries(foreign.map(name => [`SSE_${name}`, '1'])));
  });

  for (const [wrong, meant] of [
    ['SSE_MAX_CONNECTIONS', 'SSE_CONNECTION_MAX_CONNECTIONS'],
    ['SSE_CONNECTION_MAXCONNECTIONS', 'SSE_CONNECTION_MAX_CONNECTIONS'],
    ['SSE_SENDBUFFER_MAXTOTALBYTES', 'SSE_SEND_BUFFER_MAX_TOTAL_BYTES'],
    ['SSE_REDIS_URI', 'SSE_REDIS_URL'],
    ['SSE_NODEID', 'SSE_NODE_ID'],
    ['SSE_HISTORY_TOPIC', 'SSE_HISTORY_TOPICS'],
  ] as const) {
    it(`refuses ${wrong}, which is nearly ${meant}`, () => {
      expect(refusal({}, { [wrong]: '1' })).to.include(`${wrong} is not a setting; did you mean ${meant}?`);
    });
  }

  it('has another prefix where the application says so, and no other then', () => {
    const env = { SSE_NODE_ID: 'a', SSE_CONECTION_TIMEOUT: '7', MYAPP_NODE_ID: 'b' };
    expect(resolveOptions({}, env, { prefix: 'MYAPP_' }).node.id).to.equal('b');
    expect(() => resolveOptions({}, { MYAPP_NODEID: 'b' }, { prefix: 'MYAPP_' })).to.throw(/mean MYAPP_NODE_ID\?/);
  });

  it('is not read where the application says so', () => {
    const env = { SSE_CONNECTION_TIMEOUT: '7', SSE_CONECTION_TIMEOUT: '7' };
    expect(resolveOptions({}, env, false).connection.timeout).to.equal(30_000);
  });

  for (const source of [true, {}, { prefix: '' }, { prefix: 'A-B' }, null]) {
    it(`refuses ${JSON.stringify(source)} for where it comes from`, () => {
      // As a JavaScript caller may write it.
      const wrong = source as unknown as false;
      expect(() => resolveOptions({}, {}, wrong)).to.throw(/^environment must be false, or \{ prefix \}/);
    });
  }

  it('refuses a name that is empty, by its variable', () => {
    expect(refusal({}, { SSE_TELEMETRY_EVENT_NAMES: 'chat,,tick' })).to.equal(
      'SSE_TELEMETRY_EVENT_NAMES[1] must be a list of at most 100 names, got ""',
    );
  });

  it('names the variable and the path inside its JSON', () => {
    expect(refusal({}, { SSE_HISTORY_TOPICS: '{"a":{"ttl":0}}' })).to.match(
      /^SSE_HISTORY_TOPICS\.a\.ttl must be a whole number of milliseconds .*, got 0$/,
    );
  });

  it('refuses text that is no JSON', () => {
    expect(refusal({}, { SSE_HISTORY_TOPICS: '{news' })).to.match(
      /^SSE_HISTORY_TOPICS must be an object .*, got "\{news"$/,
    );
  });

  it('does not hide that the code has a wrong group', () => {
    expect(refusal({ connection: 5 }, { SSE_CONNECTION_TIMEOUT: '5' })).to.equal(
      'connection must be an object of settings, got 5',
    );
  });
});
