import type { Stage } from './stage.js';

/** Where a scenario can run. */
export type Needs = 'one process' | 'a cluster' | 'a cluster with its own Redis';

/** Something that can happen to a stream, shown by real streams. */
export interface Scenario {
  /** In the address of the page. */
  readonly id: string;
  readonly title: string;
  /** What happens, and why it matters. */
  readonly lead: string;
  readonly needs: Needs;
  /** Names of the clients that the page shows. */
  readonly clients: readonly string[];
  /** What happens step by step; `run` calls `stage.step` once for each. */
  readonly steps: readonly string[];
  /** What the visitor has seen. */
  readonly lesson: string;
  /** How an application writes it. */
  readonly code: string;
  run(stage: Stage): Promise<void>;
}
