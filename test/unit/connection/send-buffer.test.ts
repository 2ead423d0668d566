import { expect } from 'chai';
import fc from 'fast-check';
import { type BudgetHolder, SendBuffer, SendBufferBudget } from '../../../src/connection/send-buffer.js';
import type { Frame } from '../../../src/contracts/events.js';

/** The expected content of a send buffer: for each frame, the bytes not written yet, and whether some were written. */
interface Model {
  frames: { rest: Buffer; cut: boolean }[];
}

interface Real {
  readonly sendBuffer: SendBuffer;
  readonly budget: SendBufferBudget;
  /** What others hold of the budget. */
  readonly others: number;
}

type OutboxCommand = fc.Command<Model, Real>;

/** A holder that pays nothing. */
const NOBODY: BudgetHolder = { recount: () => undefined, pay: () => undefined };

let number = 0;

function frameOfLength(length: number): Frame {
  number += 1;
  // Every byte differs from its neighbours, so that a mistaken offset shows.
  return { bytes: Buffer.from(Array.from({ length }, (_, index) => (number * 31 + index) % 256)) };
}

function sumOf({ frames }: Model): number {
  return frames.reduce((sum, { rest }) => sum + rest.length, 0);
}

function expectSame(model: Model, { sendBuffer, budget, others }: Real): void {
  expect(sendBuffer.bytes).to.equal(sumOf(model));
  expect(sendBuffer.empty).to.equal(model.frames.length === 0);
  expect(sendBuffer.droppable).to.equal(sumOf({ frames: model.frames.filter(({ cut }) => !cut) }));
  expect(budget.used).to.equal(others + sendBuffer.bytes);
}

class Push implements OutboxCommand {
  constructor(private readonly length: number) {}

  check(): boolean {
    return true;
  }

  run(model: Model, real: Real): void {
    const frame = frameOfLength(this.length);
    real.sendBuffer.push(frame);
    model.frames.push({ rest: frame.bytes, cut: false });
    expectSame(model, real);
  }

  toString(): string {
    return `push(${this.length})`;
  }
}

class Take implements OutboxCommand {
  constructor(private readonly limit: number) {}

  check(): boolean {
    return true;
  }

  run(model: Model, real: Real): void {
    const all = Buffer.concat(model.frames.map(({ rest }) => rest));
    const expected = all.subarray(0, this.limit);
    expect(real.sendBuffer.shiftBytes(this.limit).equals(expected)).to.be.true;
    let left = expected.length;
    while (left > 0) {
      const [head] = model.frames;
      if (head === undefined) break;
      if (head.rest.length > left) {
        model.frames[0] = { rest: head.rest.subarray(left), cut: true };
        break;
      }
      left -= head.rest.length;
      model.frames.shift();
    }
    expectSame(model, real);
  }

  toString(): string {
    return `take(${this.limit})`;
  }
}

class DropOldest implements OutboxCommand {
  check(): boolean {
    return true;
  }

  run(model: Model, real: Real): void {
    const index = model.frames.findIndex(({ cut }) => !cut);
    expect(real.sendBuffer.dropOldest()?.bytes).to.equal(model.frames[index]?.rest);
    if (index >= 0) model.frames.splice(index, 1);
    expectSame(model, real);
  }

  toString(): string {
    return 'dropOldest()';
  }
}

class PushFirst implements OutboxCommand {
  constructor(private readonly length: number) {}

  check(): boolean {
    return true;
  }

  run(model: Model, real: Real): void {
    const frame = frameOfLength(this.length);
    const index = model.frames.findIndex(({ cut }) => !cut);
    real.sendBuffer.pushFirst(frame);
    model.frames.splice(index < 0 ? model.frames.length : index, 0, {
      rest: frame.bytes,
      cut: false,
    });
    expectSame(model, real);
  }

  toString(): string {
    return `pushFirst(${this.length})`;
  }
}

class Shift implements OutboxCommand {
  check({ frames }: Model): boolean {
    return frames[0]?.cut !== true;
  }

  run(model: Model, real: Real): void {
    const expected = model.frames.shift();
    expect(real.sendBuffer.dropOldest()?.bytes).to.equal(expected?.rest);
    expectSame(model, real);
  }

  toString(): string {
    return 'shift()';
  }
}

class DropNewest implements OutboxCommand {
  check(): boolean {
    return true;
  }

  run(model: Model, real: Real): void {
    const expected = model.frames.at(-1)?.cut === false ? model.frames.pop() : undefined;
    expect(real.sendBuffer.dropNewest()?.bytes).to.equal(expected?.rest);
    expectSame(model, real);
  }

  toString(): string {
    return 'dropNewest()';
  }
}

class Clear implements OutboxCommand {
  check(): boolean {
    return true;
  }

  run(model: Model, real: Real): void {
    real.sendBuffer.clear();
    model.frames = [];
    expectSame(model, real);
  }

  toString(): string {
    return 'clear()';
  }
}

describe('SendBuffer', () => {
  it('holds exactly what a plain list of bytes holds, and counts it in the budget', () => {
    const commands = fc.commands(
      [
        fc.integer({ min: 1, max: 20 }).map(length => new Push(length)),
        fc.integer({ min: 1, max: 20 }).map(length => new Push(length)),
        fc.integer({ min: 1, max: 30 }).map(limit => new Take(limit)),
        fc.integer({ min: 1, max: 20 }).map(length => new PushFirst(length)),
        fc.constant(new DropOldest()),
        fc.constant(new DropNewest()),
        fc.constant(new Shift()),
        fc.constant(new Clear()),
      ],
      { maxCommands: 60 },
    );
    fc.assert(
      fc.property(commands, run => {
        fc.modelRun(() => {
          const budget = new SendBufferBudget(1000);
          budget.add(7, NOBODY);
          return {
            model: { frames: [] },
            real: { sendBuffer: new SendBuffer(budget, NOBODY), budget, others: 7 },
          };
        }, run);
      }),
      { numRuns: 1000 },
    );
  });

  it('keeps its order over thousands of frames that come and go', () => {
    const sendBuffer = new SendBuffer(new SendBufferBudget(1e9), NOBODY);
    const expected: Frame[] = [];
    for (let round = 0; round < 5000; round += 1) {
      const [one, two] = [frameOfLength(3), frameOfLength(3)];
      sendBuffer.push(one);
      sendBuffer.push(two);
      expected.push(one, two);
      expect(sendBuffer.dropOldest()).to.equal(expected.shift());
    }
    while (expected.length > 0) expect(sendBuffer.dropOldest()).to.equal(expected.shift());
    expect([sendBuffer.dropOldest(), sendBuffer.bytes, sendBuffer.empty]).to.deep.equal([undefined, 0, true]);
  });

  it('returns a whole frame without a copy', () => {
    const sendBuffer = new SendBuffer(new SendBufferBudget(1000), NOBODY);
    const frame = frameOfLength(10);
    sendBuffer.push(frame);
    expect(sendBuffer.shiftBytes(10)).to.equal(frame.bytes);
  });

  it('never drops a frame of which a part was written', () => {
    const sendBuffer = new SendBuffer(new SendBufferBudget(1000), NOBODY);
    sendBuffer.push(frameOfLength(10));
    sendBuffer.shiftBytes(4);
    expect([sendBuffer.dropOldest(), sendBuffer.bytes, sendBuffer.droppable]).to.deep.equal([undefined, 6, 0]);
  });
});

describe('SendBufferBudget', () => {
  it('admits up to its limit and not one byte more', () => {
    const budget = new SendBufferBudget(100);
    budget.add(40, NOBODY);
    expect([budget.admits(60), budget.admits(61)]).to.deep.equal([true, false]);
  });

  it('counts bytes that are added and subtracted', () => {
    const budget = new SendBufferBudget(100);
    budget.add(40, NOBODY);
    budget.add(-15, NOBODY);
    expect(budget.used).to.equal(25);
  });

  it('lets the largest holder pay, as much as is missing, and the others nothing', () => {
    const budget = new SendBufferBudget(100);
    const paid: string[] = [];
    const holder = (name: string, held: number): BudgetHolder => {
      const one: BudgetHolder = {
        recount: () => undefined,
        pay: bytes => {
          paid.push(`${name} ${bytes}`);
          budget.add(-bytes, one);
        },
      };
      budget.add(held, one);
      return one;
    };
    const small = holder('small', 10);
    holder('large', 50);
    holder('middle', 38);
    expect([budget.makeRoom(12, small), budget.used, paid]).to.deep.equal([true, 88, ['large 10']]);
    expect([budget.makeRoom(50, small), paid.length]).to.deep.equal([false, 1]);
    budget.add(27, small);
    budget.enforce();
    expect([budget.used, paid]).to.deep.equal([100, ['large 10', 'large 15']]);
  });

  it('counts sockets anew before it lets a holder pay', () => {
    const budget = new SendBufferBudget(100);
    const read: BudgetHolder = { recount: () => budget.add(-90, read), pay: () => expect.fail() };
    budget.add(90, read);
    expect(budget.makeRoom(20, NOBODY)).to.equal(true);
  });
});
