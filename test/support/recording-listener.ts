export { RecordingListener } from '../../src/testing/contracts/recording-listener.js';
