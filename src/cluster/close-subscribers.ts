import type { ClusterListener } from '../contracts/cluster-listener.js';
import { EVERYONE } from './everyone.js';

/**
 * Sends the subscribers of a topic away because this node missed events of it that are not kept any more: they come back
 * with their cursors and are told what they missed.
 */
export function closeSubscribers(listener: ClusterListener, topic: string): void {
  if (topic === EVERYONE) listener.onCloseAll('gap');
  else for (const connectionId of listener.onPresence(topic)) listener.onClose(connectionId, 'gap');
}
