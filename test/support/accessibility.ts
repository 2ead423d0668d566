import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { expect } from 'chai';
import type { Browser, BrowserContext, Page } from 'playwright-core';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** Rules whose result depends on colours and sizes. The others say the same of every look. */
const RULES_OF_LOOKS = ['color-contrast', 'link-in-text-block', 'scrollable-region-focusable', 'target-size'];

/** How a page is looked at. */
export interface Looks {
  readonly colorScheme: 'light' | 'dark';
  readonly width: number;
}

const LIGHT: Looks = { colorScheme: 'light', width: 1280 };
/** How each page is examined. */
export const LOOKS: readonly Looks[] = [LIGHT, { colorScheme: 'dark', width: 390 }];

/** What a script of the page has in its global scope. */
interface Scope {
  readonly axe?: {
    run(options: object): Promise<{
      violations: readonly { id: string; nodes: readonly { html: string; failureSummary?: string }[] }[];
    }>;
  };
  readonly document: { readonly documentElement: { readonly scrollWidth: number; readonly clientWidth: number } };
  readonly shifts: number;
}

/** A context whose pages can be examined: each keeps how far it has moved by itself. */
export async function examinedContext(
  browser: Browser,
  { colorScheme, width }: Looks = LIGHT,
): Promise<BrowserContext> {
  const context = await browser.newContext({ colorScheme, viewport: { width, height: 900 } });
  await context.addInitScript({
    content: `window.shifts = 0;
      new PerformanceObserver(list => list.getEntries().forEach(entry => (window.shifts += entry.hadRecentInput ? 0 : entry.value)))
        .observe({ type: 'layout-shift', buffered: true });`,
  });
  return context;
}

/**
 * Expects of a page that axe finds nothing, that it fits its window, and that it has not moved by itself since it was loaded (the
 * web vital CLS).
 */
export async function expectSound(page: Page, looks: Looks, what: string): Promise<void> {
  const where = `${what}, ${looks.colorScheme}, ${looks.width} px`;
  expect(await violationsOf(page, looks === LIGHT ? undefined : RULES_OF_LOOKS), where).to.deep.equal([]);
  const { scrollWidth, clientWidth, shifts } = await page.evaluate(() => {
    // The init script of the context has set these.
    const { document, shifts: moved } = globalThis as unknown as Scope;
    const { scrollWidth: all, clientWidth: seen } = document.documentElement;
    return { scrollWidth: all, clientWidth: seen, shifts: moved };
  });
  expect(scrollWidth, `${where}: wider than its window`).to.be.at.most(clientWidth);
  expect(shifts, `${where}: moved`).to.be.below(0.05);
}

/** What axe has against a page: the rule and the elements. Empty when all is well. */
async function violationsOf(page: Page, rules: readonly string[] | undefined): Promise<string[]> {
  const options = { preload: false, resultTypes: ['violations'], ...(rules === undefined ? {} : { runOnly: rules }) };
  // Evaluated, so that the content security policy of the page stays as it is.
  if (!(await page.evaluate('"axe" in globalThis'))) await page.evaluate(AXE);
  const { violations = [] } =
    (await page.evaluate(settings => (globalThis as unknown as Scope).axe?.run(settings), options)) ?? {};
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary = '' }) => `${id}: ${html} ${failureSummary}`),
  );
}
