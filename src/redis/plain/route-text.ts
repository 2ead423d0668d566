/** A route as Redis holds it; see `lua/_common.lua`, whose format this is. */
export interface RouteText {
  readonly gen: string;
  readonly tok: string;
  readonly fence: number;
  /** Milliseconds of Redis' clock. */
  readonly exp: number;
  /** Superseded registrations as `<inc>/<tok>`, newest first. */
  readonly prevs: readonly string[];
  /** When it was taken over lately, in milliseconds. */
  readonly takeovers: readonly number[];
}

/** A lease of a node. */
export interface LeaseText {
  /** Milliseconds of Redis' clock. */
  readonly until: number;
  readonly inc: string;
}

const ROUTE = /^(\d+)\|([^|]*)\|(\d+)\|(\d+)\|?([^|]*)\|?([^|]*)$/;
const LEASE = /^(\d+)\|(.*)$/s;

/** `undefined` for what is no route. */
export function parseRoute(text: unknown): RouteText | undefined {
  const match = typeof text === 'string' ? ROUTE.exec(text) : null;
  if (match === null) return undefined;
  const [, gen = '', tok = '', fence = '', exp = '', prevs = '', takeovers = ''] = match;
  return {
    gen,
    tok,
    fence: Number(fence),
    exp: Number(exp),
    prevs: listOf(prevs),
    takeovers: listOf(takeovers).map(Number),
  };
}

export function formatRoute({ gen, tok, fence, exp, prevs, takeovers }: RouteText): string {
  const route = `${gen}|${tok}|${fence}|${exp}`;
  return prevs.length === 0 ? route : `${route}|${prevs.join(',')}|${takeovers.join(',')}`;
}

/** `undefined` for what is no lease. */
export function parseLease(text: unknown): LeaseText | undefined {
  const match = typeof text === 'string' ? LEASE.exec(text) : null;
  return match === null ? undefined : { until: Number(match[1]), inc: match[2] ?? '' };
}

function listOf(text: string): string[] {
  return text === '' ? [] : text.split(',');
}
