import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Browser, BrowserContext, Page } from 'playwright-core';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** How a page is looked at. */
export interface Looks {
  readonly colorScheme: 'light' | 'dark';
  readonly width: number;
}

/** What a script of the page has in its global scope. */
interface Scope {
  readonly axe: {
    run(): Promise<{
      violations: readonly { id: string; nodes: readonly { html: string; failureSummary?: string }[] }[];
    }>;
  };
  readonly document: { readonly documentElement: { readonly scrollWidth: number; readonly clientWidth: number } };
  readonly shifts: number;
}

/** A context whose pages can be examined; their content security policy holds for their own scripts. */
export async function examinedContext(browser: Browser, { colorScheme, width }: Looks): Promise<BrowserContext> {
  const context = await browser.newContext({ colorScheme, viewport: { width, height: 900 } });
  await context.addInitScript({ content: AXE });
  await context.addInitScript({
    content: `window.shifts = 0;
      new PerformanceObserver(list => list.getEntries().forEach(entry => (window.shifts += entry.hadRecentInput ? 0 : entry.value)))
        .observe({ type: 'layout-shift', buffered: true });`,
  });
  return context;
}

/** What axe has against a page: the rule and the elements. Empty when all is well. */
export async function violationsOf(page: Page): Promise<string[]> {
  const { violations } = await page.evaluate(() => (globalThis as unknown as Scope).axe.run());
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary = '' }) => `${id}: ${html} ${failureSummary}`),
  );
}

/** How far the page moved by itself since it was loaded, as the web vital CLS counts it. */
export async function layoutShift(page: Page): Promise<number> {
  return page.evaluate(() => (globalThis as unknown as Scope).shifts);
}

/** Whether the page is wider than its window. */
export async function overflows(page: Page): Promise<boolean> {
  return page.evaluate(() => {
    const { scrollWidth, clientWidth } = (globalThis as unknown as Scope).document.documentElement;
    return scrollWidth > clientWidth;
  });
}
