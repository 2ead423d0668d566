/**
 * The documentation site: README and the pages of docs as they are, and the API pages of TypeDoc in docs/api. The files of a
 * page are named as in the repository, so that links work there as well; links to other files lead to the repository.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, posix, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitepress';
import { checkLinks } from './links.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const { repository, description } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
const HOME = repository.url.replace(/^git\+|\.git$/g, '');

/** The pages of docs by subject; a page that no subject has is under "More". */
const SUBJECTS = {
  Begin: ['endpoints', 'sources', 'client', 'sending', 'streams', 'users', 'testing'],
  'Go to production': ['cluster', 'redis', 'operations', 'security', 'telemetry', 'console'],
  Reference: ['settings', 'log', 'other-clients', 'compatibility', 'speed'],
};

/** The folders of TypeDoc. */
const KINDS = new Map([
  ['classes', 'Classes'],
  ['functions', 'Functions'],
  ['interfaces', 'Interfaces'],
  ['type-aliases', 'Types'],
  ['variables', 'Constants'],
]);

/** The addresses of pages outside of docs. */
const ADDRESSES = {
  'README.md': 'index.md',
  'CHANGELOG.md': 'changelog.md',
  'CONTRIBUTING.md': 'contributing.md',
  'SECURITY.md': 'threat-model.md',
  'examples/README.md': 'examples/index.md',
};

const HERO = {
  name: 'distributed-sse',
  text: 'Server-Sent Events that never guess',
  tagline: 'For Koa and Inversify: the same on one process and on fifty.',
  actions: [
    { theme: 'brand', text: 'Start', link: '#start' },
    { theme: 'alt', text: 'Guides', link: '/endpoints' },
    { theme: 'alt', text: 'GitHub', link: HOME },
  ],
};
const FEATURES = [
  {
    title: 'Receipts',
    details: 'Each send says what became of it: delivered, waiting, stored, unknown. No outcome is guessed.',
  },
  {
    title: 'One ordered log',
    details: 'A client resumes after its last event on any node, and is informed when entries are missing.',
  },
  {
    title: 'Outages',
    details: 'Local delivery never waits for Redis. Streams stay open, and are repaired when the cluster is back.',
  },
  {
    title: 'Slow clients',
    details: 'The memory of a connection is bounded. A client that does not read harms no other one.',
  },
  {
    title: 'Deploys',
    details: 'A node leaves in waves: its clients come back elsewhere, without a storm and without a gap.',
  },
  {
    title: 'Telemetry',
    details:
      'Traces from the request to the socket of another node, metrics, and a console that shows the cluster live.',
  },
];

export default defineConfig({
  title: 'distributed-sse',
  description,
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  lang: 'en',
  srcDir: '..',
  outDir: '../dist/site',
  cacheDir: '../dist/site-cache',
  srcExclude: [
    '{node_modules,dist,test,coverage,src,lua}/**',
    'examples/{clients,compose}/**',
    '.*/**',
    'docs/bench/**',
  ],
  rewrites: addressOf,
  ignoreDeadLinks: 'localhostLinks',
  // The search index holds all pages.
  vite: { build: { chunkSizeWarningLimit: 4_000 } },
  themeConfig: {
    search: {
      provider: 'local',
      // A guide explains what an API page only names.
      options: { miniSearch: { searchOptions: { boostDocument: id => (id.startsWith('/api/') ? 0.4 : 1) } } },
    },
    outline: [2, 3],
    socialLinks: [{ icon: 'github', link: HOME }],
    nav: [
      { text: 'Guides', link: '/endpoints' },
      { text: 'API', link: '/api/' },
      { text: 'Settings', link: '/settings' },
      { text: 'Changelog', link: '/changelog' },
    ],
    sidebar: { '/api/': apiSidebar(), '/': guidesSidebar() },
    footer: { message: 'Released under the MIT licence.' },
  },
  markdown: {
    anchor: { slugify: slugOf },
    config: md => md.core.ruler.push('repository-links', state => rewriteLinks(state.tokens, state.env.path)),
  },
  transformPageData: page => {
    if (page.relativePath !== 'index.md') return;
    Object.assign(page.frontmatter, { layout: 'home', hero: HERO, features: FEATURES });
  },
  buildEnd: ({ outDir }) => checkLinks(outDir),
});

function guidesSidebar() {
  const known = Object.values(SUBJECTS).flat();
  const more = pagesOf('docs').filter(name => !known.includes(name));
  const groups = Object.entries({ ...SUBJECTS, More: more }).map(([text, names]) => ({
    text,
    items: names.map(name => ({ text: titleOf(`docs/${name}.md`), link: `/${name}` })),
  }));
  const project = ['CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md'].map(path => ({
    text: titleOf(path),
    link: `/${ADDRESSES[path].replace('.md', '')}`,
  }));
  return [
    { text: 'Overview', link: '/' },
    ...groups.filter(({ items }) => items.length > 0),
    { text: 'Project', items: project },
  ];
}

/** The entries of the package, and of each its classes, functions, and so on. */
function apiSidebar() {
  const api = join(ROOT, 'docs/api');
  const folders = readdirSync(api, { recursive: true, withFileTypes: true }).filter(entry => entry.isDirectory());
  const modules = folders.filter(({ parentPath, name }) => existsSync(join(parentPath, name, 'index.md')));
  return modules.map(({ parentPath, name }) => {
    const folder = join(parentPath, name);
    const kinds = readdirSync(folder, { withFileTypes: true }).filter(entry => KINDS.has(entry.name));
    return {
      text: posix.join(relative(api, folder)),
      link: `/${relative(join(ROOT, 'docs'), folder)}/`,
      items: kinds.map(kind => ({
        text: KINDS.get(kind.name),
        collapsed: true,
        items: pagesOf(relative(ROOT, join(folder, kind.name))).map(page => ({
          text: page,
          link: `/${relative(join(ROOT, 'docs'), join(folder, kind.name))}/${page}`,
        })),
      })),
    };
  });
}

/** The names of the pages of a folder. */
function pagesOf(folder) {
  return readdirSync(join(ROOT, folder))
    .filter(name => name.endsWith('.md'))
    .map(name => name.slice(0, -'.md'.length))
    .sort((a, b) => a.localeCompare(b));
}

function titleOf(path) {
  return /^# (.*)$/m.exec(readFileSync(join(ROOT, path), 'utf8'))?.[1].replaceAll('`', '') ?? path;
}

/** Whether a path of the repository is a page of the site. */
function isPage(path) {
  const isElsewhere = /^(docs\/bench|test|examples\/clients)\//.test(path);
  return path.endsWith('.md') && !isElsewhere && existsSync(join(ROOT, path));
}

/** The anchors that GitHub makes of headings, so that a link works here and there. */
function slugOf(text) {
  return text
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
}

/** Where a page of the repository is in the site. */
function addressOf(path) {
  return ADDRESSES[path] ?? path.replace(/^docs\//, '').replace(/\/README\.md$/, '.md');
}

/** Links between files become links between pages; those to files that are no pages lead to the repository. */
function rewriteLinks(tokens, page) {
  for (const token of tokens.flatMap(each => [each, ...(each.children ?? [])])) {
    const href = token.type === 'link_open' ? (token.attrGet('href') ?? '') : '';
    if (href === '' || /^(\w+:|#|\/)/.test(href)) continue;
    const [target = '', anchor] = href.split('#');
    const path = relative(ROOT, join(dirname(page), decodeURIComponent(target)));
    const kind = existsSync(join(ROOT, path)) && statSync(join(ROOT, path)).isDirectory() ? 'tree' : 'blob';
    const address = isPage(path) ? `/${addressOf(path)}` : `${HOME}/${kind}/main/${path}`;
    token.attrSet('href', anchor === undefined ? address : `${address}#${anchor}`);
  }
}
