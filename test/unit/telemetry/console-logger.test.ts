import { expect } from 'chai';
import { ConsoleLogger, type LogLevel } from '../../../src/telemetry/console-logger.js';

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

describe('ConsoleLogger', () => {
  const original = { ...console };
  let written: { level: LogLevel; args: unknown[] }[];

  beforeEach(() => {
    written = [];
    for (const level of LEVELS) {
      console[level] = (...args: unknown[]) => {
        written.push({ level, args });
      };
    }
  });

  afterEach(() => {
    for (const level of LEVELS) console[level] = original[level];
  });

  it('writes warnings and errors by default', () => {
    tellAll(new ConsoleLogger());
    expect(written.map(({ level }) => level)).to.deep.equal(['warn', 'error']);
  });

  for (const [index, level] of LEVELS.entries()) {
    it(`at level ${level} writes that and what is more severe`, () => {
      tellAll(new ConsoleLogger(level));
      expect(written.map(line => line.level)).to.deep.equal(LEVELS.slice(index));
    });
  }

  it('says who writes, and hands the fields over as they are', () => {
    const fields = { error: new Error('why') };
    new ConsoleLogger().warn('something happened', fields);
    expect(written).to.deep.equal([
      { level: 'warn', args: ['[distributed-sse] something happened', fields] },
    ]);
  });

  it('writes no empty fields', () => {
    new ConsoleLogger().error('something happened');
    expect(written[0]?.args).to.have.length(1);
  });
});

function tellAll(logger: ConsoleLogger): void {
  for (const level of LEVELS) logger[level](`a line of level ${level}`);
}
