import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { isLibraryReason } from '../src/close-reasons.js';
import { SSE_ERROR_CODES } from '../src/errors.js';
import { REFERENCE_PAGE, referencePage } from './support/reference-page.js';

describe('docs/reference.md', () => {
  const page = readFileSync(REFERENCE_PAGE, 'utf8');
  const names = (heading: string): string[] => {
    const [, section = ''] = page.split(`\n## ${heading}\n`);
    const [text = ''] = section.split('\n## ');
    return [...text.matchAll(/^\| `([^`]+)`/gm)].map(([, name = '']) => name);
  };

  it('is up to date; `npm run docs:reference` writes it', async () => {
    expect(page).to.equal(await referencePage());
  });

  it('names every error code, and reasons of the library alone', () => {
    expect(names('Errors')).to.include.members([...SSE_ERROR_CODES]);
    expect(names('Events')).to.deep.equal(['connected', 'sse.reset', 'sse.closed']);
    expect(names('Close reasons')).to.have.length.greaterThan(10);
    expect(names('Close reasons').filter(name => !isLibraryReason(name))).to.deep.equal([]);
  });
});
