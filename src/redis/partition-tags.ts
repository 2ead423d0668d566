/**
 * The hash tags of the sixteen partitions. Tag k hashes near the middle of the k-th sixteenth of Redis Cluster's slots, so
 * that any number of masters gets an even share; the bare numbers 0 to 15 would collide. Never to be changed: the tags
 * decide where existing routes are found.
 */
export const PARTITION_TAGS = [
  '18',
  '5x',
  'dj',
  '3r',
  'd2',
  'pv',
  'uh',
  'iy',
  'ly',
  'h9',
  'uv',
  'q6',
  '9s',
  '5f',
  'dt',
  'ha',
] as const;
