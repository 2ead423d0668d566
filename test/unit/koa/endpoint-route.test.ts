import { expect } from 'chai';
import { Container } from 'inversify';
import type { SseRequest } from '../../../src/contracts/authorization.js';
import { SseError, type SseErrorCode } from '../../../src/errors.js';
import {
  type EndpointRequest,
  SseController,
  SseEndpoint,
  type SseEndpointOptions,
} from '../../../src/koa/endpoints.js';
import { sseMiddleware } from '../../../src/koa/middleware.js';
import { assertBound, type ControllerClass, endpointRoutes, matchRoutes } from '../../../src/koa/routes.js';

class GuardA {
  canConnect(): boolean {
    return true;
  }
}
class GuardB {
  canConnect(): boolean {
    return true;
  }
}

@SseController('/v1', { guards: [GuardA] })
class Controller {
  @SseEndpoint('/a/:clientId', { guards: [GuardB], methods: ['POST'] })
  first(): void {
    // Never called.
  }

  @SseEndpoint('/a/:connectionId', { methods: ['GET'] })
  second(): void {
    // Never called.
  }
}

/** A controller with one endpoint at each path. */
function controllerAt(...paths: readonly (string | readonly [string, SseEndpointOptions])[]): ControllerClass {
  class Anonymous {
    open(): void {
      // Never called.
    }
  }
  for (const each of paths) {
    const [path, options] = typeof each === 'string' ? [each, {}] : each;
    SseEndpoint(path, options)(Anonymous.prototype, 'open', { value: () => undefined });
  }
  return Anonymous;
}

/** The message of the refusal. */
function refusalOf(make: () => unknown, code: SseErrorCode = 'INVALID_ENDPOINT'): string {
  try {
    make();
  } catch (error) {
    if (SseError.is(error, code)) return error.message;
    throw error;
  }
  throw new Error('it was not refused');
}

/** As a JavaScript caller may write it. */
const wrong = (value: unknown): never => value as never;

describe('endpointRoutes', () => {
  it('joins what the controller and the endpoint say', () => {
    const [first, second] = endpointRoutes([Controller]);
    expect(first).to.deep.include({
      controller: Controller,
      method: 'first',
      methods: ['POST'],
      guards: [GuardA, GuardB],
      path: '/v1/a/:clientId',
    });
    expect(second).to.deep.include({ methods: ['GET'], guards: [GuardA] });
  });

  it('refuses a class without endpoints, and what is no class', () => {
    class Empty {}
    expect(refusalOf(() => endpointRoutes([Empty]))).to.include('Empty has none');
    expect(refusalOf(() => endpointRoutes([wrong(new Controller())]))).to.include('give the class');
    expect(refusalOf(() => endpointRoutes([wrong(undefined)]))).to.include('got undefined');
  });

  it('refuses a class that stands alone, with the list to write', () => {
    expect(refusalOf(() => endpointRoutes(wrong(Controller)))).to.include('got a function; write controllers: [Class]');
  });

  it('refuses topics that come later, with the endpoint and what may wait', () => {
    const [route] = endpointRoutes([controllerAt(['/a', { topics: wrong(() => Promise.resolve(['news'])) }])]);
    const message = refusalOf(() => route?.topicsOf(wrong({})));
    expect(message).to.match(/^topics of Anonymous\.open must return a list .* got a promise; a guard may wait/);
  });

  for (const [path, got] of [
    [undefined, 'undefined'],
    [['/a', '/b'], 'an array'],
    [/a/, 'an object'],
  ] as const) {
    it(`refuses ${got} as a path, and as a prefix, before it becomes text`, () => {
      expect(refusalOf(() => SseEndpoint(wrong(path)))).to.include(`the path of @SseEndpoint must be text, got ${got}`);
      expect(refusalOf(() => SseController(wrong(path)))).to.include(`must be text, got ${got}`);
    });
  }

  it('refuses a whole address as a path, with the path to write', () => {
    expect(refusalOf(() => endpointRoutes([controllerAt('http://localhost:3000/sse')]))).to.include("write '/sse'");
  });

  it('refuses an onReset that names no method', () => {
    expect(refusalOf(() => endpointRoutes([controllerAt(['/a', { onReset: 'snapshot' }])]))).to.include("'snapshot'");
  });

  it('refuses a backlog out of its range, without topics, and with ids of the application', () => {
    for (const backlog of [0, 1_001, 2.5, 'all'] as unknown as readonly 1[]) {
      const refused = refusalOf(() => controllerAt(['/a', { topics: ['news'], backlog }]));
      expect(refused).to.include(
        "backlog of @SseEndpoint('/a') must be a number of entries from 1 to 1000, or 'latest'",
      );
    }
    expect(refusalOf(() => controllerAt(['/a', { backlog: 1 }]))).to.include('must stand with topics');
    expect(refusalOf(() => controllerAt(['/a', { ids: 'application', backlog: 1 }]))).to.include(
      'without topics, backlog',
    );
    for (const backlog of [1, 1_000, 'latest'] as const) controllerAt(['/a', { topics: ['news'], backlog }]);
  });

  it('refuses a path that path-to-regexp does not understand, and keeps its error', () => {
    expect(() => endpointRoutes([controllerAt('/a/:id?')]))
      .to.throw()
      .that.satisfies((error: Error) => SseError.is(error, 'INVALID_ENDPOINT') && error.cause !== undefined);
  });

  for (const path of ['feed', ':clientId', '//feed', '/a//b', '']) {
    it(`refuses the path '${path}'`, () => {
      expect(refusalOf(() => endpointRoutes([controllerAt(path)]))).to.include('path of Anonymous.open must');
    });
  }

  for (const [prefix, path] of [
    ['v1', '/feed'],
    ['/v1', 'feed'],
    ['/v1/', '/feed'],
  ] as const) {
    it(`refuses the prefix '${prefix}' before '${path}'`, () => {
      const controller = controllerAt(path);
      SseController(prefix)(controller);
      expect(refusalOf(() => endpointRoutes([controller]))).to.include('path of Anonymous.open must');
    });
  }

  it('takes a prefix alone, and one before an optional segment', () => {
    const controller = controllerAt('', '{/:clientId}/feed');
    SseController('/v1')(controller);
    expect(endpointRoutes([controller]).map(({ path }) => path)).to.deep.equal(['/v1', '/v1{/:clientId}/feed']);
  });

  for (const [one, other] of [
    ['/a', '/a'],
    ['/a/:clientId', '/a/:connectionId'],
    ['/a', '/A'],
    ['/a', '/a/'],
  ] as const) {
    it(`refuses ${other} after ${one}, of one controller or of two`, () => {
      const message = /^two endpoints answer GET .*: Anonymous\.open and Anonymous\.open/;
      expect(refusalOf(() => endpointRoutes([controllerAt(one, other)]))).to.match(message);
      expect(refusalOf(() => endpointRoutes([controllerAt(one), controllerAt(other)]))).to.match(message);
    });
  }

  it('takes one path with different methods, and paths that differ where case and slash count', () => {
    endpointRoutes([controllerAt(['/a', { methods: ['GET'] }], ['/a', { methods: ['POST'] }])]);
    endpointRoutes([controllerAt('/a', '/A')], { sensitive: true });
    endpointRoutes([controllerAt('/a', '/a/')], { strict: true });
  });
});

describe('options of an endpoint', () => {
  for (const [options, message] of [
    [{ guard: [GuardA] }, `@SseEndpoint('/a') has no option "guard"; did you mean guards?`],
    [
      { guards: GuardA },
      `guards of @SseEndpoint('/a') must be a list of classes with canConnect(request), got a function`,
    ],
    [
      { guards: [GuardA, undefined] },
      `guards of @SseEndpoint('/a') must be a list of classes with canConnect(request), got undefined in it`,
    ],
    [
      { guards: [() => true] },
      `guards of @SseEndpoint('/a') must be a list of classes with canConnect(request), got a function in it`,
    ],
    [
      { guards: [new GuardA()] },
      `guards of @SseEndpoint('/a') must be a list of classes with canConnect(request), got an object in it`,
    ],
    [{ methods: ['HEAD'] }, `methods of @SseEndpoint('/a') must be a list of 'GET' and 'POST', got "HEAD" in it`],
    [{ methods: [] }, `methods of @SseEndpoint('/a') must be a list of 'GET' and 'POST', got an array`],
    [
      { topics: 'news' },
      `topics of @SseEndpoint('/a') must be a list of topics or a function of the request, got "news"`,
    ],
    [
      { topics: ['news', 7] },
      `topics of @SseEndpoint('/a') must be a list of topics or a function of the request, got 7 in it`,
    ],
    [{ onDuplicate: 'keep' }, `onDuplicate of @SseEndpoint('/a') must be 'takeover' or 'reject', got "keep"`],
    [{ resumable: 'key' }, `resumable of @SseEndpoint('/a') must be a function of the request, got "key"`],
  ] as const) {
    it(`are refused: ${message}`, () => {
      expect(refusalOf(() => SseEndpoint('/a', wrong(options)))).to.equal(message);
    });
  }

  it('of a controller are refused as well', () => {
    const message = refusalOf(() => SseController('/v1', wrong({ gaurds: [GuardA] })));
    expect(message).to.equal(`@SseController('/v1') has no option "gaurds"; did you mean guards?`);
  });
});

describe('the connection id of an endpoint', () => {
  const idOf = (path: string, options: SseEndpointOptions, params: SseRequest['params']): string | undefined => {
    const [route] = endpointRoutes([controllerAt([path, options])]);
    // Only the parameters are read.
    return route?.connectionIdOf({ params } as EndpointRequest);
  };

  it('is the parameter clientId where there is connectionId as well', () => {
    expect(idOf('/:connectionId/:clientId', {}, { connectionId: 'b', clientId: 'a' })).to.equal('a');
  });

  it('is never random because a function returned no text', () => {
    for (const value of [undefined, null, 5, Promise.resolve('a')]) {
      const options = { connectionId: () => wrong(value) };
      refusalOf(() => idOf('/:clientId', options, { clientId: 'a' }), 'INVALID_CONNECTION_ID');
    }
  });

  it('is random for a path with two others', () => {
    expect(idOf('/:room/:topic', {}, { room: '1', topic: '2' })).to.equal(undefined);
  });

  it('must be said when there is one other parameter, unless that is the key of a source', () => {
    expect(refusalOf(() => idOf('/sse/:id', {}, {}))).to.match(
      /must say whether 'id' of '\/sse\/:id' is the connection id/,
    );
    expect(refusalOf(() => idOf('/files/*path', {}, {}))).to.include("'path'");
    expect(idOf('/answers/:id', { resumable: () => 'key' }, { id: 'x' })).to.equal(undefined);
  });

  it('must name a parameter of the path', () => {
    expect(refusalOf(() => idOf('/:id', { connectionId: 'user' }, {}))).to.include("got 'user'");
  });
});

describe('controllers and guards', () => {
  const routes = endpointRoutes([Controller]);

  it('must be bound, or the start fails with what to do', () => {
    const container = new Container();
    expect(refusalOf(() => assertBound(container, routes))).to.include('container.bind(Controller).toSelf()');
    container.bind(Controller).toSelf();
    expect(refusalOf(() => assertBound(container, routes))).to.include('container.bind(GuardA).toSelf()');
    for (const guard of [GuardA, GuardB]) container.bind<object>(guard).toSelf();
    assertBound(container, routes);
    assertBound(new Container({ parent: container }), routes);
  });

  it('without the module the start fails with what to do', () => {
    expect(refusalOf(() => sseMiddleware(new Container()))).to.include('container.load(sseModule())');
  });

  it('without a container the start, or the first request, fails with what to do', () => {
    const call = 'got an object: app.use(sseMiddleware(container, { controllers: [Class] }))';
    expect(refusalOf(() => sseMiddleware(wrong({ controllers: [Controller] })))).to.include(call);
    // As Koa calls it where the application forgot to.
    expect(
      refusalOf(() =>
        sseMiddleware(
          wrong({ req: {}, res: {} }),
          wrong(() => undefined),
        ),
      ),
    ).to.include(call);
  });

  it('that are functions of the application are asked to be classes', () => {
    function isAdmin(): boolean {
      return true;
    }
    const container = new Container();
    const controller = controllerAt(['/a', { guards: [wrong(isAdmin)] }]);
    container.bind(controller).toSelf();
    const message = refusalOf(() => assertBound(container, endpointRoutes([controller])));
    expect(message).to.match(/^isAdmin must be a class with canConnect\(request\), bound before/);
  });

  it('need no binding in a container that binds by itself', () => {
    assertBound(new Container({ autobind: true }), routes);
  });
});

describe('matchRoutes', () => {
  const routes = endpointRoutes([Controller]);

  it('finds every route of the path, in order, with encoded parameters', () => {
    const matched = matchRoutes(routes, '/v1/a/x%20y');
    expect(matched.map(({ route, params }) => [route, { ...params }])).to.deep.equal([
      [routes[0], { clientId: 'x%20y' }],
      [routes[1], { connectionId: 'x%20y' }],
    ]);
  });

  it('ignores case and a slash at the end as @koa/router does, unless it is said', () => {
    expect(matchRoutes(routes, '/V1/A/x/')).to.have.lengthOf(2);
    expect(matchRoutes(endpointRoutes([Controller], { sensitive: true }), '/V1/a/x')).to.deep.equal([]);
    expect(matchRoutes(endpointRoutes([Controller], { strict: true }), '/v1/a/x/')).to.deep.equal([]);
  });

  it('finds nothing elsewhere', () => {
    expect(matchRoutes(routes, '/a/x')).to.deep.equal([]);
    expect(matchRoutes(routes, '/v1/a')).to.deep.equal([]);
    expect(matchRoutes(routes, '/v1/a/x/y')).to.deep.equal([]);
  });
});
