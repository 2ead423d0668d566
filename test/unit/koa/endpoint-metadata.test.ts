import { expect } from 'chai';
import { SseError } from '../../../src/errors.js';
import { controllerOf, endpointsOf, SseController, SseEndpoint } from '../../../src/koa/endpoints.js';

class Guard {
  canConnect(): boolean {
    return true;
  }
}

const pathsOf = (controller: object): string[] => endpointsOf(controller).map(({ path }) => path);

describe('@SseEndpoint', () => {
  it('writes one record with path, method and options', () => {
    const options = { topics: ['news'], guards: [Guard] };
    class Controller {
      @SseEndpoint('/a', options)
      open(): void {
        // Never called.
      }
    }
    expect(endpointsOf(Controller)).to.deep.equal([{ path: '/a', method: 'open', options }]);
  });

  it('changes nothing of the class that shows', () => {
    class Controller {
      @SseEndpoint('/a')
      open(): string {
        return 'open';
      }
    }
    expect(Object.keys(Controller)).to.deep.equal([]);
    expect(Object.keys(Controller.prototype)).to.deep.equal([]);
    expect(new Controller().open()).to.equal('open');
  });

  it('keeps the order of the methods', () => {
    class Controller {
      @SseEndpoint('/b')
      first(): void {
        // Never called.
      }

      @SseEndpoint('/a')
      second(): void {
        // Never called.
      }
    }
    expect(pathsOf(Controller)).to.deep.equal(['/b', '/a']);
  });

  it('may be applied more than once to a method', () => {
    class Controller {
      @SseEndpoint('/a')
      @SseEndpoint('/b')
      open(): void {
        // Never called.
      }
    }
    expect(pathsOf(Controller)).to.have.members(['/a', '/b']);
  });

  it('takes methods that are named by a symbol', () => {
    const open = Symbol('open');
    class Controller {
      @SseEndpoint('/a')
      [open](): void {
        // Never called.
      }
    }
    expect(endpointsOf(Controller)[0]?.method).to.equal(open);
  });

  it('refuses static methods, and leaves the functions of the program alone', () => {
    const decorate = (): unknown => {
      class Controller {
        @SseEndpoint('/a')
        static open(): void {
          // Never called.
        }
      }
      return Controller;
    };
    expect(decorate)
      .to.throw()
      .that.satisfies((error: unknown) => SseError.is(error, 'INVALID_ENDPOINT'));
    expect(endpointsOf(Function)).to.deep.equal([]);
  });

  describe('and inheritance', () => {
    class Parent {
      @SseEndpoint('/parent')
      parent(): void {
        // Never called.
      }

      @SseEndpoint('/both-1')
      @SseEndpoint('/both-2')
      both(): void {
        // Never called.
      }
    }

    it('inherits records, the parent’s first', () => {
      class Child extends Parent {
        @SseEndpoint('/child')
        child(): void {
          // Never called.
        }
      }
      expect(pathsOf(Child)).to.deep.equal(['/parent', '/both-2', '/both-1', '/child']);
    });

    it('inherits records in classes that decorate nothing', () => {
      class Child extends Parent {}
      class Grandchild extends Child {}
      expect(pathsOf(Grandchild)).to.deep.equal(pathsOf(Parent));
    });

    it('leaves the parent and its other children as they were', () => {
      const before = pathsOf(Parent);
      class Child extends Parent {
        @SseEndpoint('/child')
        child(): void {
          // Never called.
        }
      }
      class Sibling extends Parent {}
      expect(pathsOf(Child)).to.have.length(4);
      expect(pathsOf(Parent)).to.deep.equal(before);
      expect(pathsOf(Sibling)).to.deep.equal(before);
    });

    it('replaces all records of a method that is decorated again', () => {
      class Child extends Parent {
        @SseEndpoint('/mine-1', { guards: [Guard] })
        @SseEndpoint('/mine-2', { guards: [Guard] })
        override both(): void {
          // Never called.
        }
      }
      expect(pathsOf(Child)).to.deep.equal(['/parent', '/mine-2', '/mine-1']);
    });

    it('keeps the records of a method that is overridden without a decorator', () => {
      class Child extends Parent {
        override parent(): void {
          // Never called.
        }
      }
      expect(pathsOf(Child)).to.include('/parent');
    });
  });
});

describe('@SseController', () => {
  it('writes prefix and guards', () => {
    @SseController('/v1', { guards: [Guard] })
    class Controller {}
    expect(controllerOf(Controller)).to.deep.equal({ prefix: '/v1', guards: [Guard] });
  });

  it('is optional', () => {
    class Controller {}
    expect(controllerOf(Controller)).to.deep.equal({ prefix: '' });
  });

  it('is inherited', () => {
    @SseController('/v1', { guards: [Guard] })
    class Parent {}
    class Child extends Parent {}
    expect(controllerOf(Child)).to.deep.equal({ prefix: '/v1', guards: [Guard] });
  });

  it('replaces that of the parent, and leaves the parent as it was', () => {
    @SseController('/v1', { guards: [Guard] })
    class Parent {}
    @SseController('/v2')
    class Child extends Parent {}
    expect(controllerOf(Child)).to.deep.equal({ prefix: '/v2' });
    expect(controllerOf(Parent)).to.include({ prefix: '/v1' });
  });

  it('takes abstract classes', () => {
    @SseController('/base')
    abstract class Base {
      abstract open(): void;
    }
    class Concrete extends Base {
      override open(): void {
        // Never called.
      }
    }
    expect(controllerOf(Concrete)).to.include({ prefix: '/base' });
  });
});
