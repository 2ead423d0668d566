import type { LeakProbe } from '../../contracts/leak-probe.js';
import { EVERYONE } from '../../protocol/everyone.js';
import type { PendingSend } from './pending-send.js';
import type { RedisMember } from './redis-member.js';

/** What a membership can leave behind: sends past their deadline, feeds that nobody follows, frames held for no reason. */
export function clusterProbes(member: () => RedisMember | undefined): LeakProbe[] {
  return [sendProbe(member), feedProbe(member), heldProbe(member)];
}

function sendProbe(member: () => RedisMember | undefined): LeakProbe<PendingSend> {
  return {
    kind: 'send',
    suspects: () => member()?.router.overdue() ?? [],
    release: send => member()?.router.abandon(send),
  };
}

function feedProbe(member: () => RedisMember | undefined): LeakProbe<string> {
  return {
    kind: 'feed',
    suspects: () => {
      const present = member();
      if (present === undefined) return [];
      return present.feed.topics.filter(topic => topic !== EVERYONE && !present.isFollowed(topic));
    },
    release: topic => {
      // However often it is listened to, until somebody joins.
      for (let feed = member()?.feed; feed?.topics.includes(topic) === true;) {
        feed.unlisten([topic]);
      }
    },
  };
}

function heldProbe(member: () => RedisMember | undefined): LeakProbe<string> {
  return {
    kind: 'held-frames',
    suspects: () => (member()?.feed.holdsForNothing === true ? ['log'] : []),
    release: () => member()?.feed.letGo(),
  };
}
