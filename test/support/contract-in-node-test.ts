/** Runs the contract of a store under `node:test`. The first argument is `sound` or `broken`. */
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import type { LocalConnection } from '../../src/contracts/store.js';
import { MemoryConnectionStore } from '../../src/node/store.js';
import { connectionStoreContract } from '../../src/testing/index.js';

/** Forgets the owner whose id another connection takes over. */
class BrokenStore extends MemoryConnectionStore {
  override promote(connection: LocalConnection): undefined {
    super.promote(connection);
    return undefined;
  }
}

const Store = process.argv[2] === 'broken' ? BrokenStore : MemoryConnectionStore;
connectionStoreContract({ describe, it, before, after, beforeEach, afterEach }, 'a store', () => new Store());
