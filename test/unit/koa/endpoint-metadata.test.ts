import { expect } from 'chai';
import { transform } from 'esbuild';
import ts from 'typescript';
import { SseError } from '../../../src/errors.js';
import { controllerOf, endpointsOf, SseController, SseEndpoint } from '../../../src/koa/endpoints.js';

class Guard {
  canConnect(): boolean {
    return true;
  }
}

class OtherGuard extends Guard {}

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

    it('keeps the guards of a method that is decorated again, before those of the subclass', () => {
      class Guarded {
        @SseEndpoint('/same', { guards: [Guard] })
        open(): void {
          // Never called.
        }
      }
      class Child extends Guarded {
        @SseEndpoint('/same', { guards: [OtherGuard], topics: ['news'] })
        override open(): void {
          // Never called.
        }
      }
      class Grandchild extends Child {
        @SseEndpoint('/other')
        override open(): void {
          // Never called.
        }
      }
      const optionsOf = (controller: object): unknown => endpointsOf(controller).map(({ options }) => options);
      expect(optionsOf(Child)).to.deep.equal([{ guards: [Guard, OtherGuard], topics: ['news'] }]);
      expect(optionsOf(Grandchild)).to.deep.equal([{ guards: [Guard, OtherGuard] }]);
      expect(optionsOf(Guarded)).to.deep.equal([{ guards: [Guard] }]);
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
  it('is inherited', () => {
    @SseController('/v1', { guards: [Guard] })
    class Parent {}
    class Child extends Parent {}
    expect(controllerOf(Child)).to.deep.equal({ prefix: '/v1', options: { guards: [Guard] } });
  });

  it('replaces the prefix of the parent and adds to its guards, and leaves the parent as it was', () => {
    @SseController('/v1', { guards: [Guard] })
    class Parent {}
    @SseController('/v2')
    class Child extends Parent {}
    @SseController('/v3', { guards: [OtherGuard, Guard] })
    class Grandchild extends Child {}
    expect(controllerOf(Child)).to.deep.equal({ prefix: '/v2', options: { guards: [Guard] } });
    expect(controllerOf(Grandchild)).to.deep.equal({ prefix: '/v3', options: { guards: [Guard, OtherGuard] } });
    expect(controllerOf(Parent)).to.deep.equal({ prefix: '/v1', options: { guards: [Guard] } });
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

describe('standard decorators', () => {
  const endpoints = new URL('../../../src/koa/endpoints.js', import.meta.url).href;
  const source = `
    import { SseController, SseEndpoint } from '${endpoints}';
    class Guard {}
    class Other {}
    const logged = (method, context) => function (...args) { return method.apply(this, args); };
    @SseController('/v1', { guards: [Guard] })
    class Parent {
      @logged @SseEndpoint('/a', { guards: [Guard] }) open() { return 'opened'; }
      @SseEndpoint('/b') other() {}
    }
    @SseController('/v2')
    class Child extends Parent {
      @SseEndpoint('/c', { guards: [Other] }) open() { return 'again'; }
    }
    export const classes = { Parent, Child };
    export const misuse = {
      static: () => { class A { @SseEndpoint('/a') static open() {} } return A; },
      private: () => { class A { @SseEndpoint('/a') #open() {} } return A; },
      field: () => { class A { @SseEndpoint('/a') open = 1; } return A; },
    };`;
  const compilers: Record<string, () => Promise<string>> = {
    TypeScript: async () =>
      ts.transpileModule(source, { compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext } })
        .outputText,
    esbuild: async () => (await transform(source, { loader: 'ts', target: 'es2022' })).code,
  };
  for (const [compiler, compile] of Object.entries(compilers)) {
    it(`work for endpoints and controllers as ${compiler} compiles them`, async () => {
      const code = `data:text/javascript,${encodeURIComponent(await compile())}`;
      const { classes, misuse } = (await import(code)) as {
        classes: Record<'Parent' | 'Child', new () => { open(): string }>;
        misuse: Record<string, () => unknown>;
      };
      expect(pathsOf(classes.Parent)).to.deep.equal(['/a', '/b']);
      expect(pathsOf(classes.Child)).to.deep.equal(['/b', '/c']);
      expect(endpointsOf(classes.Child)[1]?.options.guards?.map(({ name }) => name)).to.deep.equal(['Guard', 'Other']);
      const { prefix, options } = controllerOf(classes.Child);
      expect([prefix, options.guards?.length]).to.deep.equal(['/v2', 1]);
      expect(new classes.Child().open()).to.equal('again');
      for (const make of Object.values(misuse)) {
        expect(make).to.throw(/^an @SseEndpoint must be a public method of instances, #?open is none/);
      }
    });
  }

  it('without metadata name the setting that helps', () => {
    const context = { kind: 'method', name: 'open', static: false, private: false } as const;
    expect(() => SseEndpoint('/a')(() => undefined, context)).to.throw(/set experimentalDecorators in tsconfig\.json/);
  });
});
