import { createNoopMeter, metrics, type MeterProvider } from '@opentelemetry/api';
import { Instruments } from './instruments.js';
import { SCOPE } from './names.js';
import type { NodeFigures } from './node-figures.js';

const NO_METER = createNoopMeter();

/**
 * Makes a node's instruments once an SDK has registered a meter provider, whenever that is: instruments made before would
 * stay silent for ever.
 */
export class MeterWatch {
  #provider: MeterProvider | undefined;
  #instruments: Instruments | undefined;
  #closed = false;

  constructor(
    private readonly figures: NodeFigures,
    private readonly nodeId: string,
  ) {}

  /** The instruments at the provider of this moment; `undefined` when there is none. Cheap enough for every call. */
  get instruments(): Instruments | undefined {
    this.look();
    return this.#instruments;
  }

  /** Makes the instruments if it is time to. */
  look(): void {
    const provider = metrics.getMeterProvider();
    if (provider !== this.#provider) this.#follow(provider);
  }

  /** Ends what is reported, after one last look. */
  close(): void {
    this.#closed = true;
    this.#instruments?.close();
    this.#instruments = undefined;
  }

  #follow(provider: MeterProvider): void {
    this.#provider = provider;
    this.#instruments?.close();
    const meter = provider.getMeter(SCOPE.name, SCOPE.version);
    this.#instruments =
      this.#closed || meter === NO_METER
        ? undefined
        : new Instruments(meter, this.figures, this.nodeId);
  }
}
