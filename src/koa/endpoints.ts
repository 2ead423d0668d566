import type { Newable } from 'inversify';
import type { Context } from 'koa';
import type { SseGuard, SseRequest } from '../contracts/authorization.js';
import type { Backlog } from '../contracts/cluster.js';
import type { SseConnection } from '../contracts/connection.js';
import { SseError } from '../errors.js';
import { BACKLOG, checkOptions } from '../options/arguments.js';
import { flag, type Kind, listOf, simple } from '../options/kinds.js';
import { shownValue } from '../options/problems.js';

/** The request of an endpoint: Koa's context with the decoded parameters of the path. */
export type EndpointRequest = SseRequest & Context;

/** Written as a method, so that a handler may name a wider request or typed events. */
interface Endpoint {
  handle(connection: SseConnection, request: EndpointRequest): unknown;
}

/** What standard decorators get as their second argument; those of `experimentalDecorators` get a name. */
interface StandardContext {
  readonly kind: string;
  readonly name: string | symbol;
  readonly static: boolean;
  readonly private: boolean;
  readonly metadata?: object;
}

/** Generic in the method, since a descriptor's type is invariant. The second form is that of standard decorators. */
interface EndpointDecorator {
  <Handler extends Endpoint['handle']>(
    prototype: object,
    method: string | symbol,
    descriptor: TypedPropertyDescriptor<Handler>,
  ): void;
  (method: Endpoint['handle'], context: StandardContext & { readonly kind: 'method' }): void;
}

/**
 * Makes a controller's method an event-stream endpoint. Path syntax is path-to-regexp 8: `/sse/:clientId`, `/a{/:b}`.
 *
 * The method is called with the connection, which is `opening`, and the request. It may refuse: until it returns, sends something,
 * or 200 ms have passed, the head waits, and an error that it throws is the answer. For a generator the first item counts as the
 * return. A later error ends the stream with reason `failed`. The method may return nothing, or a source of events (see
 * `SseConnection.pipe`); then the stream ends with the source.
 *
 * Writes one metadata record and nothing else; `sseMiddleware` checks and serves it. Works with `experimentalDecorators` and
 * with standard decorators.
 * @throws SseError `INVALID_ENDPOINT` on a static or private method, for a path that is no text, and for an option that is unknown
 * or has a wrong value
 */
export function SseEndpoint(path: string, options: SseEndpointOptions = {}): EndpointDecorator {
  checkPath('the path of @SseEndpoint', path, "'/sse/:clientId'; decorate the method again for a further path");
  const where = `@SseEndpoint('${path}')`;
  checkOptions(where, options, OPTION_RULES, 'INVALID_ENDPOINT');
  checkTogether(where, options);
  return (target: object, method: string | symbol | StandardContext): void => {
    if (typeof method !== 'object') {
      if (typeof target === 'function') throw noMethodOfInstances(method);
      addRecord(target.constructor, { path, method, options });
      return;
    }
    const { kind, name, metadata } = method;
    if (kind !== 'method' || method.static || method.private) throw noMethodOfInstances(name);
    if (metadata === undefined) {
      throw new SseError(
        'INVALID_ENDPOINT',
        `@SseEndpoint needs decorator metadata, which this compiler does not write for ${String(name)}; ` +
          'set experimentalDecorators in tsconfig.json, or update the compiler',
      );
    }
    addRecord(metadata, { path, method: name, options });
  };
}

/** @throws SseError `INVALID_ENDPOINT` for what would become text by itself, such as a list or a regular expression */
function checkPath(what: string, path: unknown, example: string): void {
  if (typeof path === 'string') return;
  throw new SseError('INVALID_ENDPOINT', `${what} must be text, got ${shownValue(path)}; write it as in ${example}`);
}

/** @throws SseError `INVALID_ENDPOINT` for options that need others, or exclude each other */
function checkTogether(where: string, { ids, topics, backlog, resumable, onReset }: SseEndpointOptions): void {
  if (ids !== undefined && (topics ?? backlog ?? resumable ?? onReset) !== undefined) {
    throw new SseError(
      'INVALID_ENDPOINT',
      `ids: 'application' of ${where} must stand without topics, backlog, resumable and onReset, which need the ids of the log`,
    );
  }
  if (backlog !== undefined && topics === undefined) {
    throw new SseError(
      'INVALID_ENDPOINT',
      `backlog of ${where} must stand with topics, whose entries it has; add them`,
    );
  }
}

function noMethodOfInstances(name: string | symbol): SseError {
  return new SseError(
    'INVALID_ENDPOINT',
    `an @SseEndpoint must be a public method of instances, ${String(name)} is none; remove static or #`,
  );
}

/**
 * Optional on a controller: puts `prefix` before the paths of its endpoints, and `guards` before theirs. On a subclass it
 * replaces the prefix of the parent and adds to the guards of the parent.
 *
 * Writes one metadata record and nothing else.
 * @throws SseError `INVALID_ENDPOINT` for an option that is unknown or has a wrong value
 */
export function SseController(prefix: string, options: GuardOptions = {}) {
  checkPath('the prefix of @SseController', prefix, "'/api'");
  checkOptions(`@SseController('${prefix}')`, options, { guards: OPTION_RULES.guards }, 'INVALID_ENDPOINT');
  return (controller: abstract new (...args: never[]) => unknown): void =>
    define(controller, CONTROLLER, { prefix, options } satisfies ControllerRecord);
}

/** A guard whose method may ask for Koa's context. */
type GuardClass = Newable<{ canConnect(request: EndpointRequest): ReturnType<SseGuard['canConnect']> }>;

/** Settings of one endpoint, or of all endpoints of a controller. */
export interface GuardOptions {
  /** Classes that the container builds; all must let the request pass, in this order. */
  readonly guards?: readonly GuardClass[];
}

/** Settings of `@SseEndpoint`. */
export interface SseEndpointOptions extends GuardOptions {
  /**
   * The request methods it answers. A page of another site can send a POST without asking first, and a repeated POST may have
   * effects. Default `['GET']`.
   */
  readonly methods?: readonly ('GET' | 'POST')[];
  /** Topics its connections follow from the start. */
  readonly topics?: readonly string[] | ((request: EndpointRequest) => readonly string[]);
  /** See `ConnectionOptions.backlog`; only together with `topics`. */
  readonly backlog?: Backlog;
  /**
   * The connection id: the name of a path parameter, or a function of the request. Default: the parameter `clientId`, else
   * `connectionId`, else a random id. An endpoint with one other parameter must say it, unless it is resumable.
   */
  readonly connectionId?: string | ((request: EndpointRequest) => string);
  /** As `compression` of `ctx.sse.connect`. Default false. */
  readonly compression?: boolean;
  /** Default `connection.onDuplicate`. */
  readonly onDuplicate?: 'takeover' | 'reject';
  /**
   * Makes the endpoint a resumable source with this key. The method runs once per key in the cluster, on the node that is
   * asked first. It gets a {@link ResumableSource} instead of a connection and returns a source of events. Every client
   * that asks for the key follows that source, from its start or from the client's last id, on any node.
   */
  readonly resumable?: (request: EndpointRequest) => string;
  /**
   * Every user may follow the resumable source. Default false: it belongs to the user whose request came first, and requests of
   * others get 403.
   */
  readonly shared?: boolean;
  /** See `ConnectionOptions.ids`; not together with `topics`, `backlog`, `resumable` and `onReset`. */
  readonly ids?: 'application';
  /** Name of the controller's method that is called as a `ResetHook` whenever a client gets `sse.reset`. */
  readonly onReset?: string;
}

const isFunction = (value: unknown): value is () => unknown => typeof value === 'function';
const isText = (value: unknown): value is string => typeof value === 'string';
const isMethod = (value: unknown): value is string => value === 'GET' || value === 'POST';
/** A function that `new` takes: an arrow function, and the method of a class, have no prototype. */
const isClass = (value: unknown): value is GuardClass => isFunction(value) && value.prototype !== undefined;
const NAMES = listOf('a list of topics or a function of the request', isText);

const OPTION_RULES: Readonly<Record<keyof SseEndpointOptions, Kind<unknown>>> = {
  guards: listOf('a list of classes with canConnect(request)', isClass),
  methods: listOf("a list of 'GET' and 'POST'", isMethod, 1),
  topics: {
    rule: NAMES.rule,
    accepts: value => isFunction(value) || NAMES.accepts?.(value) === true,
    check: NAMES.check,
  },
  backlog: BACKLOG,
  connectionId: simple(
    'the name of a path parameter or a function of the request',
    value => isText(value) || isFunction(value),
  ),
  compression: flag,
  onDuplicate: simple("'takeover' or 'reject'", value => value === 'takeover' || value === 'reject'),
  resumable: simple('a function of the request', isFunction),
  shared: flag,
  ids: simple("'application'", value => value === 'application'),
  onReset: simple('the name of a method of the controller', isText),
};

/** One decorated method. */
interface EndpointRecord {
  readonly path: string;
  readonly method: string | symbol;
  readonly options: SseEndpointOptions;
}

/** One decorated class. */
interface ControllerRecord {
  readonly prefix: string;
  readonly options: GuardOptions;
}

const ENDPOINTS = Symbol.for('distributed-sse/endpoints');
const CONTROLLER = Symbol.for('distributed-sse/controller');

interface Decorated {
  readonly [ENDPOINTS]?: readonly EndpointRecord[];
  readonly [CONTROLLER]?: ControllerRecord;
}

/**
 * `Symbol.metadata` of the decorator metadata proposal, where standard decorators leave their records. Node has none yet, and
 * TypeScript writes no metadata without it.
 */
const METADATA = definedMetadata();

function definedMetadata(): symbol {
  const existing: unknown = Reflect.get(Symbol, 'metadata');
  if (typeof existing === 'symbol') return existing;
  const value = Symbol.for('Symbol.metadata');
  Object.defineProperty(Symbol, 'metadata', { value });
  return value;
}

/**
 * The endpoints of a class, inherited ones first. A class that decorates a method again replaces the records of its parents
 * and keeps their guards: a subclass can add guards, not drop them.
 */
export function endpointsOf(controller: object): readonly EndpointRecord[] {
  const own = ownEndpoints(controller);
  const parent = parentOf(controller);
  if (parent === undefined) return own;
  const inherited = endpointsOf(parent);
  return [
    ...inherited.filter(({ method }) => own.every(record => record.method !== method)),
    ...own.map(record => {
      const replaced = inherited.filter(({ method }) => method === record.method);
      const guards = replaced.flatMap(({ options }) => options.guards ?? []);
      return guards.length === 0 ? record : { ...record, options: withGuards(guards, record.options) };
    }),
  ];
}

/** What `@SseController` says on a class and its parents: the nearest prefix, and all guards. */
export function controllerOf(controller: object): Required<ControllerRecord> {
  const parent = parentOf(controller);
  const above = parent === undefined ? { prefix: '', options: {} } : controllerOf(parent);
  // The class is a function, which may have the property.
  const own = Object.hasOwn(controller, CONTROLLER) ? (controller as Decorated)[CONTROLLER] : undefined;
  if (own === undefined) return above;
  return { prefix: own.prefix, options: withGuards(above.options.guards ?? [], own.options) };
}

function withGuards<Options extends GuardOptions>(guards: readonly GuardClass[], options: Options): Options {
  if (guards.length === 0) return options;
  return { ...options, guards: [...new Set([...guards, ...(options.guards ?? [])])] };
}

function parentOf(controller: object): object | undefined {
  const parent: unknown = Object.getPrototypeOf(controller);
  return typeof parent === 'function' ? parent : undefined;
}

/** The records of a class itself: on the class by `experimentalDecorators`, in its metadata by standard decorators. */
function ownEndpoints(controller: object): readonly EndpointRecord[] {
  const metadata: unknown = Object.hasOwn(controller, METADATA) ? Reflect.get(controller, METADATA) : undefined;
  const holders = typeof metadata === 'object' && metadata !== null ? [controller, metadata] : [controller];
  // Either may have the property; only this file writes it.
  return holders.flatMap(holder => (Object.hasOwn(holder, ENDPOINTS) && (holder as Decorated)[ENDPOINTS]) || []);
}

function addRecord(holder: object, record: EndpointRecord): void {
  const before = (Object.hasOwn(holder, ENDPOINTS) && (holder as Decorated)[ENDPOINTS]) || [];
  define(holder, ENDPOINTS, [...before, record]);
}

function define(holder: object, key: symbol, value: unknown): void {
  Object.defineProperty(holder, key, { value, configurable: true });
}
