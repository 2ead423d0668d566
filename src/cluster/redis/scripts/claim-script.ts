import { defineScript } from './definition.js';

interface ClaimRequest {
  /** `keys.claim` of what is claimed. */
  readonly claim: string;
  readonly holder: string;
  /** Milliseconds to have it from now on; 0 only asks. */
  readonly ms: number;
}

/** `HELD`: by whom. `FREE`: by nobody. */
type ClaimReply =
  { readonly status: 'HELD'; readonly holder: string } | { readonly status: 'FREE' };

/** Takes, keeps or looks at a claim. Repeating it is harmless. */
export const claimScript = defineScript({
  name: 'claim',
  keys: ['claim'],
  args: ['holder', 'ms'],
  statuses: ['HELD', 'FREE'],
  keyValues: ({ claim }: ClaimRequest) => ({ claim }),
  argValues: ({ holder, ms }) => ({ holder, ms }),
  read: (status, reply): ClaimReply =>
    status === 'HELD' ? { status, holder: reply.text(1) } : { status },
});
