import type { PublishCommand } from '../keys.js';
import { defineScript } from './definition.js';

interface PublishUnkeptRequest {
  /** `keys.unkeptMark` of the caller's key. */
  readonly mark: string;
  /** What subscribers get. */
  readonly frame: Buffer;
  readonly pubCommand: PublishCommand;
  readonly channel: string;
  /** Milliseconds the key is known. */
  readonly ms: number;
}

/** `NEW`: published. `KNOWN`: published before under this key; nothing was done. */
interface PublishUnkeptReply {
  readonly status: 'NEW' | 'KNOWN';
}

/** Publishes what is not kept, once for each key. Repeating it is harmless. */
export const publishUnkeptScript = defineScript({
  name: 'publish-unkept',
  keys: ['mark'],
  args: ['frame', 'pubCommand', 'channel', 'ms'],
  statuses: ['NEW', 'KNOWN'],
  keyValues: ({ mark }: PublishUnkeptRequest) => ({ mark }),
  argValues: request => request,
  read: (status): PublishUnkeptReply => ({ status }),
});
