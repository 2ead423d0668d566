import { expect } from 'chai';
import sinon from 'sinon';
import type { Inconsistency, ReconcileReport, ReconcileRequest } from '../../../src/contracts/self-check.js';
import { SseError } from '../../../src/errors.js';
import { Reconciler } from '../../../src/node/maintenance.js';
import type { ResolvedSseOptions } from '../../../src/options/sse-options.js';
import { SilentTelemetry } from '../../../src/telemetry/telemetry.js';
import { RecordingLogger } from '../../support/recording-logger.js';
import { turns } from '../../support/turns.js';

const SETTINGS: ResolvedSseOptions['consistency'] = {
  enabled: true,
  statusCheckInterval: 30_000,
  inconsistencyHandlingStrategy: 'auto_correct',
  interNodeSyncEnabled: true,
  routeValidationInterval: 60_000,
};
const CLEAN: ReconcileReport = { checked: 3, found: {}, repairs: {}, findings: [], ms: 1 };
const GHOST: Inconsistency = { kind: 'ghost', connectionId: 'c1', repaired: false };
const DIFFERENT: ReconcileReport = { ...CLEAN, found: { ghost: 1 }, findings: [GHOST] };

describe('Reconciler', () => {
  let clock: sinon.SinonFakeTimers;
  let logger: RecordingLogger;
  let requests: ReconcileRequest[];
  let answer: (request: ReconcileRequest) => Promise<ReconcileReport>;
  let reachable: boolean;
  let reported: Inconsistency[];
  let check: Reconciler;

  function make(settings: Partial<ResolvedSseOptions['consistency']> = {}): Reconciler {
    const coordinator = {
      selfCheck: {
        reconcile: (request: ReconcileRequest) => {
          requests.push(request);
          return answer(request);
        },
        leakProbes: () => [],
      },
      status: () => ({ reachable }),
    };
    const onInconsistency = (finding: Inconsistency): void => {
      reported.push(finding);
    };
    check = new Reconciler(
      { ...SETTINGS, ...settings },
      { coordinator, logger, telemetry: new SilentTelemetry().maintenance, onInconsistency },
    );
    return check;
  }

  const scopes = (): string[] => requests.map(({ scope }) => scope);

  beforeEach(() => {
    clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    logger = new RecordingLogger();
    requests = [];
    answer = async () => CLEAN;
    reachable = true;
    reported = [];
  });

  afterEach(() => {
    check.stop();
    clock.restore();
  });

  describe('runs', () => {
    it('compares this node at one interval and the routes of all at the other, give or take a tenth', async () => {
      make().start();
      await clock.tickAsync(26_999);
      expect(scopes()).to.deep.equal([]);
      await clock.tickAsync(6_001);
      expect(scopes()).to.deep.equal(['node']);
      await clock.tickAsync(600_000 - 33_000);
      const count = (scope: string): number => scopes().filter(each => each === scope).length;
      expect(count('node')).to.be.within(18, 22);
      expect(count('cluster')).to.be.within(9, 11);
    });

    it('never when it is off, also on request', async () => {
      make({ enabled: false }).start();
      check.runSoon();
      await clock.tickAsync(600_000);
      expect(scopes()).to.deep.equal([]);
    });

    it('once for two starts, and no more after it was stopped', async () => {
      make().start();
      check.start();
      await clock.tickAsync(33_000);
      expect(scopes()).to.deep.equal(['node']);
      check.stop();
      check.runSoon();
      await clock.tickAsync(600_000);
      expect(scopes()).to.deep.equal(['node']);
    });

    it('within a second when something happened elsewhere, once for all that happened until then', async () => {
      make().start();
      check.runSoon();
      check.runSoon();
      await clock.tickAsync(1_000);
      expect(scopes()).to.deep.equal(['node']);
      check.runSoon();
      await clock.tickAsync(1_000);
      expect(scopes()).to.deep.equal(['node', 'node']);
    });

    it('one at a time', async () => {
      let finish: ((report: ReconcileReport) => void) | undefined;
      answer = () => new Promise(resolve => (finish = resolve));
      const first = make().run('node');
      const second = check.run('cluster');
      await turns();
      expect(scopes()).to.deep.equal(['node']);
      finish?.(CLEAN);
      await first;
      await turns();
      expect(scopes()).to.deep.equal(['node', 'cluster']);
      finish?.(DIFFERENT);
      expect(await second).to.equal(DIFFERENT);
    });

    it('asks nothing while the cluster cannot be reached', async () => {
      reachable = false;
      expect(await make().run('node'))
        .to.include({ checked: 0 })
        .and.to.have.property('unknown');
      expect(requests).to.deep.equal([]);
    });

    it('goes on after a check that failed', async () => {
      answer = async () => {
        throw new SseError('UNAVAILABLE', 'gone');
      };
      make().start();
      await clock.tickAsync(100_000);
      expect(scopes().length).to.be.at.least(3);
      expect(await check.run('node')).to.include({ unknown: 'gone' });
    });
  });

  describe('auto_correct', () => {
    it('asks for a thousand repairs at most, and to notify the other nodes if that is on', async () => {
      await make().run('node');
      expect(requests[0]).to.include({
        maxRepairs: 1_000,
        settle: 2_000,
        sample: 200,
        notify: true,
      });
      await make({ interNodeSyncEnabled: false }).run('node');
      expect(requests[1]).to.include({ notify: false });
    });

    it('is no trouble of the cluster, and reports each finding once', async () => {
      answer = async () => DIFFERENT;
      await make().run('node');
      expect(check.trouble).to.equal(undefined);
      expect(reported).to.deep.equal([GHOST]);
      expect(logger.at('warn')).to.have.length(1);
    });

    it('a listener that throws harms nothing', async () => {
      answer = async () => DIFFERENT;
      make();
      reported.push = () => {
        throw new Error('no');
      };
      expect(await check.run('node')).to.equal(DIFFERENT);
      expect(logger.at('error')).to.have.length(1);
    });
  });

  describe('fail_fast', () => {
    const strict = { inconsistencyHandlingStrategy: 'fail_fast' } as const;

    it('asks for no repairs', async () => {
      await make(strict).run('node');
      expect(requests[0]).to.include({ maxRepairs: 0 });
    });

    it('is in trouble from a finding until a clean check, and names what was found', async () => {
      answer = async () => DIFFERENT;
      await make(strict).run('node');
      expect(check.trouble).to.include('1 ghost');
      answer = async () => CLEAN;
      await check.run('node');
      expect(check.trouble).to.equal(undefined);
    });

    it('a check that knows nothing neither makes trouble nor ends it', async () => {
      const unknown = { ...DIFFERENT, unknown: 'a lease was lost' };
      answer = async () => unknown;
      await make(strict).run('node');
      expect(check.trouble).to.equal(undefined);
      answer = async () => DIFFERENT;
      await check.run('node');
      answer = async () => ({ ...CLEAN, unknown: 'a lease was lost' });
      await check.run('node');
      expect(check.trouble).to.be.a('string');
    });

    it('trouble that one kind of check found is not ended by the other kind', async () => {
      answer = async ({ scope }) => (scope === 'cluster' ? DIFFERENT : CLEAN);
      await make(strict).run('cluster');
      await check.run('node');
      expect(check.trouble).to.be.a('string');
    });
  });
});
