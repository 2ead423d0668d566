import { createHash, randomBytes } from 'node:crypto';
import type { Admission, SseGuard, SseRequest } from '../contracts/authorization.js';
import type { Locks } from '../contracts/cluster.js';
import type { SseService, Tickets } from '../contracts/service.js';
import { SseError } from '../errors.js';
import { checkArguments, MAX_TICKET_MS } from '../options/arguments.js';
import { checkUser } from '../protocol/names.js';

/** Bytes of what a ticket stands for, as JSON. */
const MAX_BYTES = 16_384;
const TTL_MS = 30_000;
const TICKET = /^[\w-]{43}$/;

/**
 * Tickets for clients that cannot send headers: each stands for an admission, for one connect. The cluster knows a ticket by its
 * digest alone, as two locks: one names the admission, and the other belongs to the first that redeems the ticket.
 */
export class LockTickets implements Tickets {
  constructor(private readonly locks: Locks) {}

  async issue({ user, expiresAt, topics }: Admission, options: { readonly ttl?: number } = {}): Promise<string> {
    checkArguments('tickets.issue', options);
    checkUser(user);
    const text = JSON.stringify({ user, expiresAt: expiresAt?.getTime(), topics });
    if (Buffer.byteLength(text) > MAX_BYTES) {
      throw new SseError(
        'INVALID_OPTION',
        `an admission of a ticket must have at most ${MAX_BYTES} bytes; name fewer topics`,
      );
    }
    const ticket = randomBytes(32).toString('base64url');
    await this.locks.acquireLock(nameOf(ticket), text, options.ttl ?? TTL_MS);
    return ticket;
  }

  async redeem(ticket: string): Promise<Admission | undefined> {
    if (!TICKET.test(ticket)) return undefined;
    const name = nameOf(ticket);
    const text = await this.locks.lockHolder(name);
    if (text === undefined) return undefined;
    const isFirst = await this.locks.acquireLock(`${name} used`, randomBytes(16).toString('hex'), MAX_TICKET_MS);
    return isFirst ? admissionIn(text) : undefined;
  }
}

/** Readers of Redis find the digest, which is no ticket. */
function nameOf(ticket: string): string {
  return `ticket ${createHash('sha256').update(ticket).digest('base64url')}`;
}

function admissionIn(text: string): Admission {
  // Only `issue` writes these locks.
  const { user, expiresAt, topics } = JSON.parse(text) as { user: string; expiresAt?: number; topics?: string[] };
  checkUser(user);
  return {
    user,
    ...(expiresAt !== undefined && { expiresAt: new Date(expiresAt) }),
    ...(topics !== undefined && { topics }),
  };
}

/**
 * A guard that admits a request by the ticket in its query, `?ticket=…`, as the user for whom the ticket was issued: 401 without
 * one, and for a ticket that is unknown, used or too old. `sseModule` binds it.
 */
export class TicketGuard implements SseGuard {
  constructor(private readonly sse: Pick<SseService, 'tickets'>) {}

  async canConnect({ query }: SseRequest): Promise<Admission | number> {
    const { ticket } = query;
    return (typeof ticket === 'string' ? await this.sse.tickets.redeem(ticket) : undefined) ?? 401;
  }
}
