/** What the page needs of `@types/react-dom`, which an application installs. */
declare module 'react-dom/client' {
  import type { ReactNode } from 'react';

  export function createRoot(element: Element): { render(page: ReactNode): void };
}
