import { readdirSync, readFileSync } from 'node:fs';
import { expect } from 'chai';
import { pictures } from './bench/pictures.js';
import { PAGES } from './bench/report.js';

describe('the pictures in docs/bench', () => {
  it('are made from the result files; `npm run bench:goals` writes them', () => {
    const names = readdirSync(PAGES).filter(name => name.endsWith('.svg'));
    const found = new Map(names.map(name => [name, readFileSync(PAGES + name, 'utf8')]));
    expect(Object.fromEntries(found)).to.deep.equal(Object.fromEntries(pictures()));
  });
});
