import { expect } from 'chai';
import { policyObserver, SilentTelemetry } from '../../../src/telemetry/telemetry.js';
import { RecordingLogger } from '../../support/recording-logger.js';

describe('policyObserver', () => {
  it('logs the beginning and the end of an outage once per kind, however often a call tries', () => {
    const logger = new RecordingLogger();
    const observer = policyObserver(logger, new SilentTelemetry().maintenance);
    for (let round = 0; round < 3; round += 1) {
      observer.onCircuit?.('send', 'open');
      observer.onCircuit?.('send', 'half-open');
    }
    observer.onCircuit?.('publish', 'open');
    observer.onCircuit?.('send', 'closed');
    observer.onCircuit?.('send', 'open');
    expect(logger.lines.map(({ level, fields }) => [level, fields?.['kind']])).to.deep.equal([
      ['warn', 'send'],
      ['warn', 'publish'],
      ['info', 'send'],
      ['warn', 'send'],
    ]);
  });

  it('records each retry and refusal in telemetry', () => {
    const recorded: unknown[] = [];
    const error = new Error('away');
    const observer = policyObserver(new RecordingLogger(), {
      retrying: (...news) => recorded.push(news),
      refusing: (...news) => recorded.push(news),
    });
    observer.onRetry?.('register', 2, error);
    observer.onRefused?.('send', 'queue');
    expect(recorded).to.deep.equal([
      ['register', error],
      ['send', 'queue'],
    ]);
  });
});
