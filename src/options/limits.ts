import { bytes, count, setting, wordOrOrigins } from './kinds.js';

/** The settings `limits.*`, a part of the table of settings. */
export const LIMITS = {
  /**
   * Whether a page of another site may open a stream: such a request carries the cookies of the user. `refuse` answers 403,
   * `allow` lets it pass, a list names the origins that may, as `['https://app.example.org']`; in the environment
   * `https://a.example,https://b.example`. Default `refuse`.
   */
  crossSite: setting(wordOrOrigins('refuse', 'allow'), 'refuse'),
  /** Bytes of one event's data; not more than `sendBuffer.maxTotalBytes`. Default 1048576 (1 MiB). */
  maxEventBytes: setting(bytes, 1_048_576),
  /** Topics of one connection; 0: broadcasts and direct sends only. Default 128. */
  maxTopicsPerConnection: setting(count(0), 128),
};
