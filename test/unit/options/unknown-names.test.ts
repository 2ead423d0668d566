import { expect } from 'chai';
import { refusal } from './refusal.js';

describe('unknown names', () => {
  const keys: [unknown, string][] = [
    [{ conection: {} }, 'conection is not a setting; did you mean connection?'],
    [
      { connection: { maxconnection: 5 } },
      'connection.maxconnection is not a setting; did you mean connection.maxConnections?',
    ],
    [{ resilience: { sendd: {} } }, 'resilience.sendd is not a setting; did you mean resilience.send?'],
    [
      { resilience: { send: { timout: 5 } } },
      'resilience.send.timout is not a setting; did you mean resilience.send.timeout?',
    ],
    [
      { history: { topics: { 'news/*': { maxEntry: 5 } } } },
      'history.topics["news/*"].maxEntry is not a setting; ' + 'did you mean history.topics["news/*"].maxEntries?',
    ],
  ];
  for (const [input, message] of keys) {
    it(`are refused: ${message}`, () => expect(refusal(input)).to.equal(message));
  }

  it('are refused with the settings of other groups that have the name, unless these are many', () => {
    expect(refusal({ maxConnections: 5 })).to.equal(
      'maxConnections is not a setting; did you mean connection.maxConnections?',
    );
    expect(refusal({ enabled: true })).to.equal('enabled is not a setting');
  });

  it('are refused with the value undefined too', () => {
    expect(refusal({ conection: undefined })).to.match(/^conection is not a setting/);
  });

  it('do not show their value, which may be a secret under a mistyped key', () => {
    const message = refusal({ redis: { pasword: 'hunter2' } }, { SSE_REDIS_PASWORD: 'hunter2' });
    expect(message).to.include('redis.password').and.not.include('hunter2');
  });

  it('are refused in the environment, with the nearest variable', () => {
    expect(refusal({}, { SSE_CONECTION_MAX_CONNECTIONS: '5' })).to.equal(
      'SSE_CONECTION_MAX_CONNECTIONS is not a setting; did you mean SSE_CONNECTION_MAX_CONNECTIONS? ' +
        "If another program uses it, give sseModule { environment: { prefix: 'MYAPP_' } }",
    );
  });

  it('are quoted and shortened when they are hostile', () => {
    const message = refusal({ [`a\n${'b'.repeat(100_000)}`]: 1 });
    expect(message.split('\n')).to.have.lengthOf(1);
    expect(message.length).to.be.below(300);
  });

  for (const key of ['__proto__', 'constructor', 'prototype', 'toString']) {
    const polluting = JSON.parse(`{"${key}":{"polluted":true}}`) as object;

    it(`include ${key} at the top`, () => {
      expect(refusal(polluting)).to.match(new RegExp(`^${key} is not a setting`));
    });

    it(`include ${key} in a group, with the environment laid over it`, () => {
      const message = refusal({ connection: polluting }, { SSE_CONNECTION_TIMEOUT: '5' });
      expect(message).to.match(new RegExp(`^connection\\.${key} is not a setting`));
    });

    it(`do not pollute by ${key}`, () => {
      refusal(polluting);
      refusal({ connection: polluting }, { SSE_CONNECTION_TIMEOUT: '5' });
      expect(({} as { polluted?: unknown }).polluted).to.be.undefined;
      expect((Object as { polluted?: unknown }).polluted).to.be.undefined;
    });
  }

  it('include __proto__ among the topic patterns, from the environment too', () => {
    const topics = JSON.parse('{"__proto__":{"ttl":5}}') as object;
    expect(refusal({ history: { topics } })).to.match(/^history\.topics must be an object that/);
    expect(refusal({}, { SSE_HISTORY_TOPICS: '{"__proto__":false}' })).to.match(
      /^SSE_HISTORY_TOPICS must be an object that/,
    );
  });
});
