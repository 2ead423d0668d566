import { Container, injectable } from 'inversify';
import type { Middleware } from 'koa';
import { SseEndpoint, sseMiddleware, sseModule, SseService } from '../../src/index.js';

@injectable()
class MailController {
  @SseEndpoint('/tour/mail/:clientId', { methods: ['GET'] })
  open(): void {
    // Its events wait in the mailbox, or come from POST requests.
  }
}

/** The mailboxes of the tour. */
export interface TourMail {
  readonly sse: SseService;
  readonly middleware: Middleware;
}

/**
 * A service of its own with mailboxes, in this process alone: a mailbox costs each connection a subscription, and the streams of
 * the demo's contract are without one unless `SSE_MAILBOX_ENABLED` says so.
 */
export function tourMail(): TourMail {
  const container = new Container();
  const options = { node: { id: 'mail' }, mailbox: { enabled: true }, telemetry: { enabled: false } };
  container.load(sseModule(options, { environment: false }));
  container.bind(MailController).toSelf().inSingletonScope();
  return { sse: container.get(SseService), middleware: sseMiddleware(container, { controllers: [MailController] }) };
}
