import { expect } from 'chai';
import { inspect } from 'node:util';
import { resolveOptions } from '../../../src/options/sse-options.js';
import { refusal } from './refusal.js';

const SECRET = 'hunter2';

describe('secrets', () => {
  const inputs: [string, unknown, NodeJS.ProcessEnv?][] = [
    ['a url of another kind', { redis: { url: `http://u:${SECRET}@host` } }],
    ['a url without a scheme', { redis: { url: `u:${SECRET}@host` } }],
    ['a url from the environment', {}, { SSE_REDIS_URL: `http://u:${SECRET}@host` }],
    ['a url in the place of the group', { redis: `redis://u:${SECRET}@host` }],
    ['a url in the place of the options', `redis://u:${SECRET}@host`],
    ['a url in the place of the client', { redis: { client: `redis://u:${SECRET}@host` } }],
    ['a client in a wrong place', { node: { id: { options: { password: SECRET } } } }],
    ['a password of a wrong type', { redis: { password: [SECRET] } }],
    ['a short control secret', { control: { secret: SECRET } }],
    ['a short control secret from the environment', {}, { SSE_CONTROL_SECRET: SECRET }],
    ['a secret in the place of its group', { control: SECRET }],
    ['a client beside a url', { redis: { url: `redis://u:${SECRET}@host`, client: { password: SECRET } } }],
  ];
  for (const [name, input, env] of inputs) {
    it(`are not shown: ${name}`, () => expect(refusal(input, env)).not.to.include(SECRET));
  }

  it('are not shown when a password is a number', () => {
    expect(refusal({ redis: { password: 12345678 } })).to.equal(
      'redis.password must be text, got a number (not shown)',
    );
  });

  it('are nowhere in the error, its cause included', () => {
    try {
      resolveOptions({ control: { secret: SECRET } });
      expect.fail('not refused');
    } catch (error) {
      expect(inspect(error, { depth: 10, showHidden: true })).not.to.include(SECRET);
    }
  });
});
