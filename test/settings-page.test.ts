import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { DistributedSseService } from '../src/node/service.js';
import { listSettings } from '../src/options/sse-options.js';
import { defaultOf, SETTINGS_PAGE, settingsPage, settingTexts } from './support/settings-page.js';

describe('docs/settings.md', () => {
  const page = readFileSync(SETTINGS_PAGE, 'utf8');

  it('is up to date; `npm run docs:settings` writes it', async () => {
    expect(page).to.equal(await settingsPage());
  });

  it('names every setting and its variable', () => {
    const names = listSettings().flatMap(({ path, variable }) => [path, variable ?? path]);
    expect(names.filter(name => !page.includes(`\`${name}\``))).to.deep.equal([]);
  });
});

describe('the tables of the Java starter in docs/migration.md', () => {
  const page = readFileSync(new URL('migration.md', `file://${SETTINGS_PAGE}`), 'utf8');
  const table = (head: string): string[][] => {
    const [text = ''] = /^(\|.*\n)+/.exec(page.slice(page.indexOf(`| ${head} `))) ?? [];
    const rows = text.trimEnd().split('\n').slice(2);
    return rows.map(row => row.split('|').slice(1, -1)).map(cells => cells.map(cell => cell.trim()));
  };

  it('name all ten methods, each a method here', () => {
    const names = table('Java').map(([java = '']) => /^`(\w+)\(/.exec(java)?.[1] ?? java);
    expect(names).to.have.length(10);
    expect(names.filter(name => !(name in DistributedSseService.prototype))).to.deep.equal([]);
  });

  it('name all 31 keys, each a setting under its name in camel case with its default', () => {
    const settings = new Map(listSettings().map(({ path, setting }) => [`\`${path}\``, setting]));
    const rows = table('key of `takltc.sse`');
    expect(rows).to.have.length(31);
    for (const [key = '', path = '', said = ''] of rows) {
      expect(path).to.equal(key.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase()));
      const setting = settings.get(path) ?? expect.fail(`${path} is no setting`);
      const [value = ''] = said.replaceAll('`', '').split(' ');
      if (said !== 'with an address') expect(value, path).to.equal(defaultOf(setting, value).replaceAll('`', ''));
    }
  });
});

describe('comments in the declarations of the settings', () => {
  const texts = settingTexts();

  it('say the meaning of every setting and group', () => {
    const paths = listSettings().flatMap(({ path }) =>
      path.split('.').map((_, index, keys) => keys.slice(0, index + 1).join('.')),
    );
    expect(paths.filter(path => (texts.get(path)?.meaning ?? '') === '')).to.deep.equal([]);
  });

  for (const { path, setting } of listSettings()) {
    it(`say the default of ${path}`, () => {
      const words = texts.get(path)?.initial ?? expect.fail('no default in the comment');
      const [first = '', ...others] = words.split('; ');
      const value = defaultOf(setting, first);
      const [, kind = ''] = path.split('.');
      // The comment of a limit is that of all kinds of calls: "Default 2000; of `send` 600000".
      const own = others.find(other => other.startsWith(`of \`${kind}\` `));
      const said = own === undefined ? first : own.replace(/^of `\w+` /, '');
      expect(said.replace(/ \(.*\)$/, '')).to.be.oneOf([value, `\`${value}\``]);
    });
  }
});
