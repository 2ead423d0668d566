import type { Context } from 'koa';
import type { CloseReceipt, PublishReceipt } from '../contracts/events.js';
import type { SseService } from '../contracts/service.js';
import { SseError } from '../errors.js';
import { jsonBodyOf } from '../koa/reports.js';
import { shownValue } from '../options/problems.js';
import { isAccepted } from './answers.js';
import type { ActionName, Actions } from './contract.js';
import type { Station } from './station.js';

/** The longest body of an action: an event of the default size and more. */
const MAX_BODY_BYTES = 2 * 1024 * 1024;

/** What an action did, for its audit. */
interface Done<Name extends ActionName = ActionName> {
  /** A connection, topic, user, node or key. */
  readonly target: string;
  readonly outcome: string;
  readonly answer: Actions[Name]['answer'];
}

type Body = Readonly<Record<string, unknown>>;

/** Carries out an action. @throws SseError `INVALID_REQUEST` for a wrong body, and what the service throws */
export type ActionRunner = { readonly [Name in ActionName]: (body: Body) => Promise<Done<Name>> };

/** The actions of the console. Each method of the service that one needs checks the names itself. */
export function actionsOf(service: SseService, station: Station): ActionRunner {
  return {
    send: body => send(service, body),
    publish: body => publish(service, body),
    close: async body => {
      const connectionId = text(body, 'connectionId');
      return ended(connectionId, await service.closeConnection(connectionId, optional(body, 'reason', 'string')));
    },
    revoke: async body => {
      const user = text(body, 'user');
      return ended(user, await service.revoke({ user }));
    },
    drain: async body => {
      const nodeId = text(body, 'nodeId');
      const { parts, live } = await station.ask({ kind: 'drain' }, isAccepted, nodeId);
      const known = live.some(node => node.nodeId === nodeId);
      const outcome = parts.has(nodeId) ? 'delivered' : known ? 'unknown' : 'not-connected';
      return { target: nodeId, outcome, answer: { outcome } };
    },
    'stop-source': async body => {
      const key = text(body, 'key');
      const forget = optional(body, 'forget', 'boolean') === true;
      const receipt = await (forget ? service.forgetSource(key) : service.stopSource(key));
      const { outcome } = receipt;
      return { target: key, outcome, answer: { outcome, code: codeOf(receipt) } };
    },
  };
}

async function send(service: SseService, body: Body): Promise<Done<'send'>> {
  const connectionId = text(body, 'connectionId');
  const durable = optional(body, 'durable', 'boolean');
  const options = durable === undefined ? {} : { durable };
  const receipt = await service.sendMessageToConnection(connectionId, eventOf(body), dataOf(body), options);
  const { outcome, messageId, ms } = receipt;
  const answer = {
    ...{ outcome, connectionId, messageId, ms },
    code: codeOf(receipt),
    nodeId: ('nodeId' in receipt && receipt.nodeId) || null,
  };
  return { target: connectionId, outcome, answer };
}

async function publish(service: SseService, body: Body): Promise<Done<'publish'>> {
  const topic = optional(body, 'topic', 'string');
  const options = optional(body, 'history', 'boolean') === false ? { history: false as const } : {};
  const event = eventOf(body);
  const data = dataOf(body);
  if (topic !== undefined) {
    const receipt = await service.publish(topic, event, data, options);
    const answer = { ...published(receipt), topic, local: null, nodes: null };
    return { target: topic, outcome: receipt.outcome, answer };
  }
  const receipt = await service.broadcastToCluster(event, data, options);
  const { local, nodes } = receipt;
  return { target: '*', outcome: receipt.outcome, answer: { ...published(receipt), topic: null, local, nodes } };
}

function ended(target: string, { closed, missing, unavailable }: CloseReceipt) {
  return { target, outcome: `closed ${closed}`, answer: { closed, missing, unavailable: unavailable ?? null } };
}

/** The body of an action, read here or by a parser in front of the console. @throws SseError `INVALID_REQUEST` */
export async function bodyOf(ctx: Context): Promise<Body> {
  if (ctx.request.is('application/json') === false) throw invalid('a body of type application/json', undefined);
  const value = await jsonBodyOf(ctx, 'the body of an action', MAX_BODY_BYTES);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Body;
  throw invalid('a JSON object', value);
}

function text(body: Body, name: string): string {
  const value = optional(body, name, 'string');
  if (value === undefined) throw invalid(`an object with ${name}`, undefined);
  return value;
}

interface Primitives {
  readonly string: string;
  readonly boolean: boolean;
}

function optional<K extends keyof Primitives>(body: Body, name: string, kind: K): Primitives[K] | undefined {
  const value = body[name];
  if (value === undefined || value === null) return undefined;
  // `typeof` has just said so.
  if (typeof value === kind) return value as Primitives[K];
  throw invalid(`an object whose ${name} is a ${kind}`, value);
}

function eventOf(body: Body): string {
  return optional(body, 'event', 'string') ?? 'message';
}

function dataOf(body: Body): unknown {
  if (body['data'] === undefined) throw invalid('an object with data', undefined);
  return body['data'];
}

function invalid(rule: string, value: unknown): SseError {
  const got = value === undefined ? '' : `, got ${shownValue(value)}`;
  return new SseError('INVALID_REQUEST', `the body of an action must be ${rule}${got}; see docs/console.md`);
}

function published(receipt: Pick<PublishReceipt, 'outcome' | 'id'>) {
  return { outcome: receipt.outcome, code: codeOf(receipt), id: receipt.id ?? null };
}

function codeOf(receipt: object): string | null {
  return 'code' in receipt && typeof receipt.code === 'string' ? receipt.code : null;
}
