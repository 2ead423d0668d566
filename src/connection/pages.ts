import type { Cursor, Frame } from '../contracts/events.js';
import { Batch } from './scheduler.js';

/** Large writes go out in pieces, so that the progress of a slow socket shows between them. */
export const PIECE_BYTES = 64 * 1024;

/** Pages of fewer bytes leave with the other frames of a tick. */
const SMALL_BYTES = 16 * 1024;

/** Pages that are compared with a new one. Clients of a few positions come back at once. */
const MOST_PAGES = 8;

/** Consecutive frames of a page as one, whose bytes are joined and encoded once for all clients that get them. */
export class Piece implements Frame {
  /** That of the last frame. */
  readonly position?: Cursor;

  constructor(
    readonly frames: readonly Frame[],
    readonly batch: Batch,
  ) {
    const position = frames.at(-1)?.position;
    if (position !== undefined) this.position = position;
  }

  get bytes(): Buffer {
    return this.batch.join();
  }
}

/**
 * The pages that clients are given at present, cut into pieces. Clients that come back from the same position get the same
 * frames, so the bytes of a page are joined and encoded once, whatever their number. The garbage collector frees a page that is
 * written to no client any more.
 */
export class SharedPages {
  /** By the frames of a page, where several clients were given the same list. */
  readonly #pieces = new WeakMap<readonly Frame[], WeakRef<readonly Frame[]>>();
  #recent: WeakRef<readonly Piece[]>[] = [];

  /** Frames in pieces of at most {@link PIECE_BYTES}; a larger frame is a piece of its own, and so is each of a small page. */
  piecesOf(frames: readonly Frame[]): readonly Frame[] {
    const known = this.#pieces.get(frames)?.deref();
    if (known !== undefined) return known;
    const pieces = this.#alike(frames);
    this.#pieces.set(frames, new WeakRef(pieces));
    return pieces;
  }

  #alike(frames: readonly Frame[]): readonly Frame[] {
    let bytes = 0;
    for (const frame of frames) bytes += frame.bytes.length;
    if (bytes < SMALL_BYTES) return frames;
    for (const recent of this.#recent) {
      const pieces = recent.deref();
      if (pieces !== undefined && isSame(pieces, frames)) return pieces;
    }
    const pieces = cut(frames);
    this.#recent = [new WeakRef(pieces), ...this.#recent].slice(0, MOST_PAGES);
    return pieces;
  }
}

/** Whether pieces have these frames, and no others. */
function isSame(pieces: readonly Piece[], frames: readonly Frame[]): boolean {
  let at = 0;
  for (const piece of pieces) {
    for (const frame of piece.frames) {
      if (frame !== frames[at]) return false;
      at += 1;
    }
  }
  return at === frames.length;
}

function cut(frames: readonly Frame[]): readonly Piece[] {
  const pieces: Piece[] = [];
  let first = 0;
  let batch = Batch.empty();
  for (const [at, frame] of frames.entries()) {
    if (batch.bytes > 0 && batch.bytes + frame.bytes.length > PIECE_BYTES) {
      pieces.push(new Piece(frames.slice(first, at), batch));
      first = at;
      batch = Batch.empty();
    }
    batch = batch.append(frame);
  }
  return [...pieces, new Piece(frames.slice(first), batch)];
}
