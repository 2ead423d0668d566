import { expect } from 'chai';
import { SseError } from '../../../src/errors.js';
import { endpointRoutes, matchRoutes, SseController, SseEndpoint } from '../../../src/koa/endpoints.js';

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
  @SseEndpoint('/a/:id', { guards: [GuardB], methods: ['POST'] })
  first(): void {
    // Never called.
  }

  @SseEndpoint('/a/:other')
  second(): void {
    // Never called.
  }
}

const isInvalid = (error: unknown): boolean => SseError.is(error, 'INVALID_ENDPOINT');

describe('endpointRoutes', () => {
  it('joins what the controller and the endpoint say', () => {
    const [first, second] = endpointRoutes([Controller]);
    expect(first).to.deep.include({
      controller: Controller,
      method: 'first',
      methods: ['POST'],
      guards: [GuardA, GuardB],
    });
    expect(second).to.deep.include({ methods: ['GET', 'POST'], guards: [GuardA] });
  });

  it('refuses a class without endpoints', () => {
    class Empty {}
    expect(() => endpointRoutes([Empty]))
      .to.throw()
      .that.satisfies(isInvalid);
  });

  it('refuses an onReset that names no method', () => {
    class Hooked {
      @SseEndpoint('/a', { onReset: 'snapshot' })
      open(): void {
        // Never called.
      }
    }
    expect(() => endpointRoutes([Hooked]))
      .to.throw()
      .that.satisfies(isInvalid);
  });

  it('refuses a path that path-to-regexp does not understand, and keeps its error', () => {
    class Old {
      @SseEndpoint('/a/:id?')
      open(): void {
        // Never called.
      }
    }
    expect(() => endpointRoutes([Old]))
      .to.throw()
      .that.satisfies((error: unknown) => isInvalid(error) && (error as Error).cause !== undefined);
  });
});

describe('matchRoutes', () => {
  const routes = endpointRoutes([Controller]);

  it('finds every route of the path, in order, with encoded parameters', () => {
    const matched = matchRoutes(routes, '/v1/a/x%20y');
    expect(matched.map(({ route, params }) => [route, { ...params }])).to.deep.equal([
      [routes[0], { id: 'x%20y' }],
      [routes[1], { other: 'x%20y' }],
    ]);
  });

  it('finds nothing elsewhere', () => {
    expect(matchRoutes(routes, '/a/x')).to.deep.equal([]);
    expect(matchRoutes(routes, '/v1/a')).to.deep.equal([]);
    expect(matchRoutes(routes, '/v1/a/x/y')).to.deep.equal([]);
  });
});
