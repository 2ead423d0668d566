import { createHmac, timingSafeEqual } from 'node:crypto';

const MAC_BYTES = 32;

/**
 * Lets nodes recognise frames of their own cluster in a Redis that others use as well: HMAC-SHA256 with `control.secret`
 * in front of the frame. Without a secret frames pass as they are. It proves the writer's knowledge of the secret, not
 * that the frame is new: `RequestGuard` sees to that for commands, the message id for events.
 */
export class FrameSeal {
  constructor(private readonly secret: string | undefined) {}

  /** Whether frames are signed; those that Redis itself writes cannot be. */
  get signs(): boolean {
    return this.secret !== undefined;
  }

  seal(frame: Buffer): Buffer {
    return this.secret === undefined ? frame : Buffer.concat([mac(this.secret, frame), frame]);
  }

  /** The frame that was sealed; `undefined` when it was not sealed with the same secret. */
  open(sealed: Buffer): Buffer | undefined {
    if (this.secret === undefined) return sealed;
    if (sealed.length < MAC_BYTES) return undefined;
    const frame = sealed.subarray(MAC_BYTES);
    return timingSafeEqual(mac(this.secret, frame), sealed.subarray(0, MAC_BYTES))
      ? frame
      : undefined;
  }
}

function mac(secret: string, frame: Buffer): Buffer {
  return createHmac('sha256', secret).update(frame).digest();
}
