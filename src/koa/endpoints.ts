import type { Newable } from 'inversify';
import type { SseGuard, SseRequest } from '../contracts/authorization.js';
import type { SseConnection } from '../contracts/connection.js';
import { SseError } from '../errors.js';

/** Written as a method, so that a handler may name a narrower request (Koa's context) or typed events. */
interface Endpoint {
  handle(connection: SseConnection, request: SseRequest): unknown;
}

/**
 * Makes a controller's method an event-stream endpoint. Path syntax is path-to-regexp 8: `/sse/:clientId`, `/a{/:b}`.
 *
 * The method is called with the open connection and the request. It may return nothing, or a source of events (see
 * `SseConnection.pipe`): its stream ends with the source. What it throws ends the stream with reason `failed`.
 *
 * Writes one metadata record and nothing else; `sseMiddleware` serves it.
 * @throws SseError `INVALID_ENDPOINT` on a static method
 */
export function SseEndpoint(path: string, options: SseEndpointOptions = {}) {
  // Generic in the method, since a descriptor's type is invariant.
  return <Handler extends Endpoint['handle']>(
    prototype: object,
    method: string | symbol,
    _descriptor: TypedPropertyDescriptor<Handler>,
  ): void => {
    if (typeof prototype === 'function') {
      throw new SseError(
        'INVALID_ENDPOINT',
        `an @SseEndpoint must be a method of instances, ${String(method)} is static; remove the keyword`,
      );
    }
    addEndpoint(prototype.constructor, { path, method, options });
  };
}

/**
 * Optional on a controller: puts `prefix` before the paths of its endpoints, and `guards` before theirs.
 *
 * Writes one metadata record and nothing else.
 */
export function SseController(prefix: string, options: GuardOptions = {}) {
  return (controller: abstract new (...args: never[]) => unknown): void => {
    setController(controller, { prefix, ...options });
  };
}

/** Settings of one endpoint, or of all endpoints of a controller. */
export interface GuardOptions {
  /** Classes that the container builds; all must let the request pass, in this order. */
  readonly guards?: readonly Newable<SseGuard>[];
}

/** Settings of `@SseEndpoint`. */
export interface SseEndpointOptions extends GuardOptions {
  /** The request methods it answers. Default both. */
  readonly methods?: readonly ('GET' | 'POST')[];
  /** Topics its connections follow from the start. */
  readonly topics?: readonly string[] | ((request: SseRequest) => readonly string[]);
  /** The connection id. Default: the path parameter `connectionId` or `clientId`, else a random one. */
  readonly connectionId?: (request: SseRequest) => string;
  /** Default `connection.onDuplicate`. */
  readonly onDuplicate?: 'takeover' | 'reject';
  /**
   * Makes it a resumable source: the method runs once per key in the cluster, whoever asks first, is given a
   * {@link ResumableSource} instead of a connection, and returns a source of events that all who ask for the key follow,
   * from the start or from their last id, on any node.
   */
  readonly resumable?: (request: SseRequest) => string;
  /** Name of the controller's method that is called as a `ResetHook` whenever a client is told of a gap. */
  readonly onReset?: string;
}

/** One decorated method. */
interface EndpointRecord {
  readonly path: string;
  readonly method: string | symbol;
  readonly options: SseEndpointOptions;
}

/** One decorated class. */
interface ControllerRecord extends GuardOptions {
  readonly prefix: string;
}

const ENDPOINTS = Symbol.for('distributed-sse/endpoints');
const CONTROLLER = Symbol.for('distributed-sse/controller');

interface Decorated {
  readonly [ENDPOINTS]?: readonly EndpointRecord[];
  readonly [CONTROLLER]?: ControllerRecord;
}

function addEndpoint(controller: object, record: EndpointRecord): void {
  define(controller, ENDPOINTS, [...ownEndpoints(controller), record]);
}

function setController(controller: object, record: ControllerRecord): void {
  define(controller, CONTROLLER, record);
}

/**
 * The endpoints of a class, inherited ones first. What a class says about a method replaces what its parents said, so that
 * an inherited record cannot let past the guards of a new one.
 */
export function endpointsOf(controller: object): readonly EndpointRecord[] {
  const own = ownEndpoints(controller);
  const parent: unknown = Object.getPrototypeOf(controller);
  if (typeof parent !== 'function') return own;
  const inherited = endpointsOf(parent).filter(({ method }) =>
    own.every(record => record.method !== method),
  );
  return [...inherited, ...own];
}

/** What `@SseController` said about a class, or else about its nearest parent; without it, no prefix and no guards. */
export function controllerOf(controller: object): ControllerRecord {
  return (controller as Decorated)[CONTROLLER] ?? { prefix: '' };
}

function ownEndpoints(controller: object): readonly EndpointRecord[] {
  return (Object.hasOwn(controller, ENDPOINTS) && (controller as Decorated)[ENDPOINTS]) || [];
}

function define(controller: object, key: symbol, value: unknown): void {
  Object.defineProperty(controller, key, { value, configurable: true });
}
