import { join } from 'node:path';
import type { Application, Workshop } from './workshop.js';

/** The Node versions that the package promises, the oldest first. */
export const NODES = ['20', '22', '24', '26'] as const;
/** A major version of Node. */
export type NodeVersion = (typeof NODES)[number];

/** TypeScript from the oldest version that the package promises to the newest. */
export const COMPILERS = ['5.4', '5.5', '5.6', '5.7', '5.8', '5.9', '6.0', '7.0'] as const;

/** Programs that bring an application into being: Node itself, package managers, compilers. */
export class Tools {
  private constructor(private readonly bench: Application) {}

  /** Gets them from the registry. A Node that comes as a package is the one of this platform. */
  static async install(workshop: Workshop, short: boolean): Promise<Tools> {
    const binary = `npm:node-${process.platform}-${process.arch}`;
    const bench = await workshop.application('tools', {
      'package.json': {
        private: true,
        dependencies: short
          ? {}
          : {
              pnpm: '^10',
              yarn: '^1.22',
              '@yarnpkg/cli-dist': '^4',
              ...Object.fromEntries(NODES.map(version => [`node${version}`, `${binary}@^${version}`])),
            },
      },
    });
    await bench.run(['npm', 'install', '--no-audit', '--no-fund', '--silent']);
    return new Tools(bench);
  }

  node(version: NodeVersion): string {
    return join(this.bench.folder, `node_modules/node${version}/bin/node`);
  }

  /** The path of a package manager's program. */
  manager(path: 'pnpm/bin/pnpm.cjs' | 'yarn/bin/yarn.js' | '@yarnpkg/cli-dist/bin/yarn.js'): string {
    return join(this.bench.folder, 'node_modules', path);
  }
}
