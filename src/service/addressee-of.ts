import type { ConnectionStore } from '../contracts/connection-store.js';
import type { Addressee } from '../contracts/telemetry.js';
import { isMailbox, mailboxOwner } from '../protocol/mailbox-topic.js';
import { isSourceTopic, sourceKey } from '../protocol/source-topic.js';

/** Whom an entry of the log is for, by its topic. */
export function addresseeOf(
  topic: string | undefined,
  store: Pick<ConnectionStore, 'get'>,
): Addressee {
  if (topic === undefined) return { scope: 'cluster' };
  if (isSourceTopic(topic)) return { scope: 'source', key: sourceKey(topic) };
  if (!isMailbox(topic)) return { scope: 'topic', topic };
  const connectionId = mailboxOwner(topic);
  return { scope: 'connection', connectionId, connection: store.get(connectionId) };
}
