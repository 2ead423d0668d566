import { MemoryConnectionStore } from '../../src/node/store.js';
import { describeConnectionStore } from './connection-store.contract.js';

describeConnectionStore('MemoryConnectionStore', () => new MemoryConnectionStore());
