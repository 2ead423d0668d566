import { MemoryConnectionStore } from '../../src/store/memory-connection-store.js';
import { describeConnectionStore } from './connection-store.contract.js';

describeConnectionStore('MemoryConnectionStore', () => new MemoryConnectionStore());
