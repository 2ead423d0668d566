const PREFIX = '@';

/** The topic of the log that only one connection follows. No application can name it. */
export function mailboxTopic(connectionId: string): string {
  return `${PREFIX}${connectionId}`;
}

/** Whether a topic is some connection's own. */
export function isMailbox(topic: string): boolean {
  return topic.startsWith(PREFIX);
}
