import type { StartedTestContainer } from 'testcontainers';

/** A container to start. */
interface Wanted {
  readonly image: string;
  readonly ports: readonly number[];
  readonly command?: readonly string[];
  /** A line of its log that says that it serves. */
  readonly ready: RegExp;
}

const LONGEST_MS = 60_000;

/** Starts a container, or returns why there is none: no engine answers, or it has no such image. */
export async function startContainer({ image, ports, command, ready }: Wanted): Promise<StartedTestContainer | string> {
  // Each test removes its own container; the one that watches would be another image.
  process.env['TESTCONTAINERS_RYUK_DISABLED'] ??= 'true';
  try {
    // On some machines the import itself fails.
    const { GenericContainer, Wait } = await import('testcontainers');
    const container = new GenericContainer(image).withExposedPorts(...ports).withStartupTimeout(LONGEST_MS);
    if (command !== undefined) container.withCommand([...command]);
    return await container.withWaitStrategy(Wait.forLogMessage(ready)).start();
  } catch (error) {
    return `no container of ${image}: ${error instanceof Error ? error.message : String(error)}`;
  }
}
