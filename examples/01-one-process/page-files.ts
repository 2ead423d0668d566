import { readdir, readFile } from 'node:fs/promises';
import Router from '@koa/router';

// The page is plain files that the compiler does not copy; both the sources and dist lie below the project's top.
const PAGE = new URL('../../../examples/01-one-process/page/', import.meta.url);
const FILES = [
  { path: '/', file: new URL('index.html', PAGE), type: 'html' },
  { path: '/page.css', file: new URL('page.css', PAGE), type: 'css' },
  { path: '/page.js', file: new URL('page.js', PAGE), type: 'js' },
];
// `distributed-sse/client`, as it is in the package. An application would let its bundler do this.
const CLIENT = new URL('../../src/client/', import.meta.url);

/** Serves the demo's page, and the library's client for it. */
export async function pageFiles(): Promise<Router> {
  const router = new Router();
  const modules = (await readdir(CLIENT)).filter(name => name.endsWith('.js'));
  const client = modules.map(name => ({ path: `/client/${name}`, file: new URL(name, CLIENT), type: 'js' }));
  for (const { path, file, type } of [...FILES, ...client]) {
    const content = await readFile(file);
    router.get(path, ctx => {
      ctx.type = type;
      ctx.set('Content-Security-Policy', "default-src 'self'; img-src 'self' data:");
      ctx.body = content;
    });
  }
  // Browsers ask for it unasked; an empty answer keeps their consoles clean.
  router.get('/favicon.ico', ctx => {
    ctx.status = 204;
  });
  return router;
}
