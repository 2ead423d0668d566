import { claimScript } from './claim-script.js';
import { countScript } from './count-script.js';
import type { ScriptDefinition } from './definition.js';
import { historyScript } from './history-script.js';
import { leaseScript } from './lease-script.js';
import { ownedScript } from './owned-script.js';
import { publishScript } from './publish-script.js';
import { publishUnkeptScript } from './publish-unkept-script.js';
import { reapScript } from './reap-script.js';
import { refreshScript } from './refresh-script.js';
import { registerScript } from './register-script.js';
import { resolveScript } from './resolve-script.js';
import { sendScript } from './send-script.js';
import { sweepScript } from './sweep-script.js';
import { unregisterScript } from './unregister-script.js';
import { validateScript } from './validate-script.js';

/** What all scripts have in common, whatever their requests. */
type AnyScript = Pick<
  ScriptDefinition<never, unknown>,
  'name' | 'keys' | 'args' | 'restKeys' | 'restArgs' | 'statuses'
>;

/** Every script of `lua/`. */
export const SCRIPTS: readonly AnyScript[] = [
  leaseScript,
  registerScript,
  unregisterScript,
  refreshScript,
  ownedScript,
  reapScript,
  sweepScript,
  validateScript,
  sendScript,
  resolveScript,
  claimScript,
  countScript,
  publishScript,
  publishUnkeptScript,
  historyScript,
];
