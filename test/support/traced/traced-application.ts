import { fileURLToPath } from 'node:url';
import { ChildProgram } from '../child-program.js';
import { EventStreamClient } from '../event-stream-client.js';

const START = fileURLToPath(new URL('start.js', import.meta.url));

/** A node of `application.ts` in a process of its own, with its SDK in front of it. */
export class TracedApplication {
  private constructor(
    private readonly program: ChildProgram,
    private readonly url: string,
  ) {}

  static async start(nodeId: string, variables: Readonly<Record<string, string>>): Promise<TracedApplication> {
    const program = ChildProgram.start(
      'test/support/traced/application.js',
      { SSE_NODE_ID: nodeId, OTEL_SERVICE_NAME: nodeId, ...variables },
      ['--import', START],
    );
    const [, url = ''] = await program.printed(/^listening on (\S+)$/m);
    return new TracedApplication(program, url);
  }

  /** Opens a stream of a user. */
  async connect(user: string, connectionId: string, headers = {}): Promise<EventStreamClient> {
    const init = { headers: { 'x-user': user, ...headers } };
    const client = await EventStreamClient.open(`${this.url}/sse/${connectionId}`, init);
    await client.event('connected');
    return client;
  }

  /** Sends a request; resolves to the status of the answer. */
  async ask(method: string, path: string, body = 'hi', headers = {}): Promise<number> {
    const response = await fetch(this.url + path, { method, headers: { 'x-body': body, ...headers } });
    await response.arrayBuffer();
    return response.status;
  }

  /** Resolves when it has exported the rest. */
  async stop(): Promise<void> {
    await this.program.stop();
  }
}
