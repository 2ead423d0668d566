const PREFIX = '@';

/** The topic of the log that only one connection follows. No application can name it. */
export function mailboxTopic(connectionId: string): string {
  return `${PREFIX}${connectionId}`;
}

/** The id of the connection whose mailbox a topic is. */
export function mailboxOwner(topic: string): string {
  return topic.slice(PREFIX.length);
}

/** Whether a topic is some connection's own. */
export function isMailbox(topic: string): boolean {
  return topic.startsWith(PREFIX);
}
