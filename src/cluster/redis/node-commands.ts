import { SseError } from '../../errors/sse-error.js';
import type { Command, CommandRequest } from '../wire/command-frame.js';
import type { ClusterNode } from './cluster-node.js';
import type { CommandBus, CommandResult } from './command-bus.js';
import type { RequestGuard } from './request-guard.js';

/** What a command from elsewhere changes in this coordinator itself. */
export interface CommandEffects {
  /** A node came or went. */
  onMembership(): void;
  /** Another node repaired routes, so something happened that may concern this one. */
  onRepaired(): void;
}

/** Carries out what other nodes ask, and answers. */
export class NodeCommands {
  constructor(
    private readonly node: ClusterNode,
    private readonly bus: CommandBus,
    private readonly guard: RequestGuard,
    private readonly effects: CommandEffects,
  ) {}

  /** Returns false for a request that is not to be believed, and is not carried out. */
  onRequest(request: CommandRequest): boolean {
    if (!this.guard.admits(request)) return false;
    this.#run(request.command).then(
      result => {
        if (result !== undefined) this.bus.answer(request, true, result);
      },
      (error: unknown) => {
        const reason = SseError.is(error) ? error.code : 'INTERNAL';
        this.node.logger.warn('a command from another node failed', {
          command: request.command.t,
          error,
        });
        this.bus.answer(request, false, reason);
      },
    );
    return true;
  }

  /** A command of a newer version: it is told so instead of waiting. */
  onUnknownRequest(request: Pick<CommandRequest, 'id' | 'from'>): void {
    this.bus.answer(request, false, 'unsupported');
  }

  /** `undefined`: nobody waits for an answer. */
  async #run(command: Command): Promise<CommandResult | undefined> {
    const { listener } = this.node;
    switch (command.t) {
      case 'join':
        this.effects.onMembership();
        return true;
      case 'leave':
        this.effects.onMembership();
        return undefined;
      case 'sync':
        this.effects.onRepaired();
        return undefined;
      case 'ping':
        return true;
      case 'count':
        return [...listener.registered()].length;
      case 'close':
        return listener.onClose(command.connectionId, command.reason);
      case 'closeAll':
        listener.onCloseAll(command.reason);
        return true;
      case 'subscribe':
        return listener.onSubscribe(command.connectionId, command.topic);
      case 'unsubscribe':
        return listener.onUnsubscribe(command.connectionId, command.topic);
      case 'confirm':
        return (await listener.onConfirm(command.connectionId, command)) ?? false;
      case 'presence':
        return [...listener.onPresence(command.topic)];
    }
  }
}
