import { readFile } from 'node:fs/promises';
import Router from '@koa/router';

// The page is text that the compiler does not copy; both the sources and dist lie below the project's top.
const PAGE = new URL('../../../examples/01-one-process/page/index.html', import.meta.url);
// Bundled by `npm run build`, with the library's client in it.
const BUNDLE = new URL('./page/', import.meta.url);
const FILES = [
  { path: '/', file: PAGE, type: 'html' },
  { path: '/tour.css', file: new URL('tour.css', BUNDLE), type: 'css' },
  { path: '/tour.js', file: new URL('tour.js', BUNDLE), type: 'js' },
];

/** Serves the page of the tour. */
export async function pageFiles(): Promise<Router> {
  const router = new Router();
  for (const { path, file, type } of FILES) {
    const content = await readFile(file);
    router.get(path, ctx => {
      ctx.type = type;
      ctx.set('Content-Security-Policy', "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'");
      ctx.set('Cache-Control', 'no-cache');
      ctx.body = content;
    });
  }
  // Browsers ask for it unasked; an empty answer keeps their consoles clean.
  router.get('/favicon.ico', ctx => {
    ctx.status = 204;
  });
  return router;
}
