import type { Redis } from 'ioredis';

/** A frame as it was published. */
export interface Recorded {
  readonly channel: string;
  readonly frame: Buffer;
}

/** A program that may only subscribe and publish: it records what nodes publish, and publishes what it likes. */
export class Recorder {
  readonly frames: Recorded[] = [];
  readonly #subscriber: Redis;

  private constructor(
    private readonly publisher: Redis,
    onFrame: (recorded: Recorded) => void,
  ) {
    this.#subscriber = publisher.duplicate();
    this.#subscriber.on('pmessageBuffer', (_pattern: Buffer, channel: Buffer, frame: Buffer) => {
      const recorded = { channel: channel.toString(), frame };
      this.frames.push(recorded);
      onFrame(recorded);
    });
  }

  /** @param publisher is not closed @param onFrame called with each frame at once */
  static async of(
    publisher: Redis,
    pattern: string,
    onFrame: (recorded: Recorded) => void = () => undefined,
  ): Promise<Recorder> {
    const recorder = new Recorder(publisher, onFrame);
    await recorder.#subscriber.psubscribe(pattern);
    return recorder;
  }

  /** What was recorded on channels of these kinds, by their letter. */
  on(...letters: readonly string[]): Recorded[] {
    return this.frames.filter(({ channel }) => letters.some(letter => channel.includes(`0:${letter}:`)));
  }

  /** Publishes frames, in this order. */
  async publish(frames: readonly Recorded[]): Promise<void> {
    const pipeline = this.publisher.pipeline();
    for (const { channel, frame } of frames) pipeline.publish(channel, frame);
    await pipeline.exec();
  }

  close(): void {
    this.#subscriber.disconnect();
  }
}
