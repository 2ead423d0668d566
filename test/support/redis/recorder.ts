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

  private constructor(private readonly publisher: Redis) {
    this.#subscriber = publisher.duplicate();
    this.#subscriber.on('pmessageBuffer', (_pattern: Buffer, channel: Buffer, frame: Buffer) =>
      this.frames.push({ channel: channel.toString(), frame }),
    );
  }

  /** @param publisher is not closed */
  static async of(publisher: Redis, pattern: string): Promise<Recorder> {
    const recorder = new Recorder(publisher);
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
