import type { ConnectionSink } from '../../src/contracts/connection.js';

/** A socket that takes everything at once; any number of connections may share it. */
export const OPEN_SINK: ConnectionSink = {
  closed: false,
  pendingBytes: 0,
  attach: () => undefined,
  open: () => undefined,
  write: () => true,
  end: () => undefined,
  destroy: () => undefined,
};
