/** The links of the built site: each leads to a file and an anchor that exist. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';

/** @throws Error that names each page with a broken link */
export function checkLinks(folder) {
  const pages = new Map(
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter(name => name.endsWith('.html'))
      .map(name => [name, pageOf(readFileSync(join(folder, name), 'utf8'))]),
  );
  const broken = [...pages].flatMap(([name, { links }]) =>
    links.filter(link => !exists(pages, name, link)).map(link => `${name}: ${link}`),
  );
  if (broken.length > 0) throw new Error(`broken links:\n${broken.join('\n')}`);
}

function pageOf(html) {
  const valuesOf = attribute =>
    [...html.matchAll(new RegExp(` ${attribute}="([^"]*)"`, 'g'))].map(([, value]) => value);
  const links = valuesOf('href').filter(link => !/^\w+:/.test(link) && /^[^#]*(\.html|\/)?(#|$)/.test(link));
  return {
    links: [...new Set(links)].filter(link => !/\.(css|js|woff2|svg|png|ico)$/.test(link)),
    anchors: new Set(valuesOf('id')),
  };
}

function exists(pages, from, link) {
  const [path, anchor = ''] = link.replaceAll('&amp;', '&').split('#');
  const target = path === '' ? from : posix.join(path.startsWith('/') ? '' : dirname(from), path).replace(/^\//, '');
  const file = target === '' || target.endsWith('/') ? `${target}index.html` : target.replace(/(\.html)?$/, '.html');
  const page = pages.get(file);
  return page !== undefined && (anchor === '' || page.anchors.has(decodeURIComponent(anchor)));
}
