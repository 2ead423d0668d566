import type { MeterWatch } from './meter-watch.js';
import type { NodeFigures } from './node-figures.js';
import type { SpanRecorder } from './span-recorder.js';

/** What the parts of one node's telemetry share. */
export interface Reporting {
  readonly figures: NodeFigures;
  readonly spans: SpanRecorder;
  readonly meters: MeterWatch;
}
