import { readFileSync } from 'node:fs';
import { expect } from 'chai';
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
