import { readFile } from 'node:fs/promises';
import Router from '@koa/router';

// The page is plain files that the compiler does not copy; both the sources and dist lie below the project's top.
const FOLDER = new URL('../../../examples/01-one-process/page/', import.meta.url);
const FILES = [
  { path: '/', name: 'index.html', type: 'html' },
  { path: '/page.css', name: 'page.css', type: 'css' },
  { path: '/page.js', name: 'page.js', type: 'js' },
];

/** Serves the demo's page. */
export async function pageFiles(): Promise<Router> {
  const router = new Router();
  for (const { path, name, type } of FILES) {
    const content = await readFile(new URL(name, FOLDER));
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
