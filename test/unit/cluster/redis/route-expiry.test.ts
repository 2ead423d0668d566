import { expect } from 'chai';
import sinon from 'sinon';
import { RouteExpiry } from '../../../../src/cluster/redis/expiry.js';
import { SseError } from '../../../../src/errors.js';
import { resolveOptions, type SseOptions } from '../../../../src/options/sse-options.js';
import { SilentTelemetry } from '../../../../src/telemetry/telemetry.js';
import { codeOf } from '../../../support/code-of.js';
import { scriptedNode } from '../../../support/redis/scripted-node.js';

describe('RouteExpiry', () => {
  const retrying = sinon.fake();
  let tries: number;

  /** An expiry whose script calls fail so many times first. */
  const failing = (
    times: number,
    reliability: SseOptions['reliability'] = {},
    code: 'UNAVAILABLE' | 'INTERNAL' = 'UNAVAILABLE',
    isSteady = () => true,
  ): RouteExpiry => {
    tries = 0;
    const node = scriptedNode(() => {
      tries += 1;
      if (tries <= times) throw new SseError(code, 'no');
      return { status: 'WRAPPED', removed: ['c1'] };
    });
    const settings = { cleanupRetryCount: 2, cleanupRetryInterval: 10, ...reliability };
    const telemetry = Object.assign(new SilentTelemetry().maintenance, { retrying });
    const options = resolveOptions({ reliability: settings });
    return new RouteExpiry({ ...node, options, telemetry }, { isSteady, clockOf: () => undefined }, () => undefined);
  };

  beforeEach(() => retrying.resetHistory());

  it('repeats a step that fails, and records each repetition', async () => {
    expect(await failing(2).expire()).to.equal(1);
    expect(tries).to.equal(3);
    expect(retrying.args.map(([kind]) => String(kind))).to.deep.equal(['maintenance', 'maintenance']);
  });

  it('does not repeat a step when the node is no longer steady', async () => {
    const isSteady = sinon.stub().returns(false).onFirstCall().returns(true);
    expect(await failing(1, {}, 'UNAVAILABLE', isSteady).expire()).to.equal(0);
    expect(tries).to.equal(1);
  });

  it('tries no more often than it may', async () => {
    expect(await codeOf(failing(9).expire())).to.equal('UNAVAILABLE');
    expect(tries).to.equal(3);
  });

  it('does not repeat a failure that will not pass', async () => {
    expect(await codeOf(failing(9, {}, 'INTERNAL').expire())).to.equal('INTERNAL');
    expect(tries).to.equal(1);
  });

  it('repeats nothing when reliability is off, or the count is 0', async () => {
    for (const settings of [{ enabled: false }, { cleanupRetryCount: 0 }]) {
      expect(await codeOf(failing(1, settings).expire())).to.equal('UNAVAILABLE');
      expect(tries).to.equal(1);
    }
  });
});
