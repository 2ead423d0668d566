/** One file of the page. */
interface Asset {
  /** Its Content-Type. */
  readonly type: string;
  readonly body: string;
}

/** The files of the page by their path below the console; `index.html` answers the path itself. */
export const ASSETS: Readonly<Record<string, Asset>> = {
  'index.html': {
    type: 'text/html; charset=utf-8',
    body: '<!doctype html><html lang="en"><meta charset="utf-8"><title>Console</title><p>See <a href="api/nodes">api/nodes</a>.</p></html>\n',
  },
};
