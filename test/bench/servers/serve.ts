import type { RequestListener } from 'node:http';
import * as http from 'node:http';
import type { AddressInfo } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { collectedMemory } from './collected-memory.js';

/** What a server of the comparison does. */
export interface Serving {
  readonly onRequest: RequestListener;
  /** Sends one event to everyone. */
  readonly broadcast: () => void;
  /** Sends one event to one connection, another one each time; absent where no benchmark uses it. */
  readonly send?: () => void;
}

/** A question of the benchmark; answered with the same id. */
export interface Question {
  readonly id: number;
  readonly ask: 'broadcast' | 'send' | 'cpu' | 'memory' | 'stall';
  readonly count: number;
}

/** Serves on a free port, prints it, and answers the questions of the process that started this one. */
export function serve({ onRequest, broadcast, send }: Serving): void {
  const delays = monitorEventLoopDelay({ resolution: 1 });
  const answers: Record<Question['ask'], (count: number) => unknown> = {
    broadcast: count => {
      const startedAt = Number(process.hrtime.bigint());
      for (let number = 0; number < count; number += 1) broadcast();
      return startedAt;
    },
    send: count => {
      for (let number = 0; number < count; number += 1) send?.();
    },
    cpu: () => {
      const { user, system } = process.cpuUsage();
      return user + system;
    },
    memory: collectedMemory,
    // Watched from one question to the next, since looking each millisecond costs processor time.
    stall: () => {
      const longest = delays.max / 1e6;
      delays.reset();
      if (!delays.enable()) delays.disable();
      return longest;
    },
  };
  // Each in a callback of its own, as calls of different requests are; IPC delivers all that it read in one.
  process.on('message', ({ id, ask, count }: Question) => {
    setImmediate(() => {
      void Promise.resolve(answers[ask](count)).then(answer => process.send?.({ id, answer }));
    });
  });
  process.on('disconnect', () => process.exit());
  const server = http.createServer(onRequest).listen(0, '127.0.0.1', 4096, () => {
    console.log(`listening on ${(server.address() as AddressInfo).port}`);
  });
}
