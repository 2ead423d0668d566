/** What an element of a page is made of. */
interface Parts {
  /** Becomes the class attribute. */
  readonly class?: string;
  /** Attributes by their names; `false` and `undefined` leave one out, `true` sets an empty one. */
  readonly attributes?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly data?: Readonly<Record<string, string>>;
  readonly onClick?: () => void;
}

/** An element with its children. Strings become text, never markup. */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  parts: Parts | string = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  const {
    class: className,
    attributes = {},
    data = {},
    onClick,
  } = typeof parts === 'string' ? { class: parts } : parts;
  if (className !== undefined) made.className = className;
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(key, value === true ? '' : String(value));
  }
  Object.assign(made.dataset, data);
  if (onClick !== undefined) made.addEventListener('click', onClick);
  made.append(...children);
  return made;
}

/** An element of an SVG picture. */
export function shape<Name extends keyof SVGElementTagNameMap>(
  name: Name,
  attributes: Readonly<Record<string, string | number>> = {},
  ...children: readonly (Node | string)[]
): SVGElementTagNameMap[Name] {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...children);
  return made;
}

/**
 * The element with this id.
 * @throws Error when the page has none, or one of another kind
 */
export function byId<Kind extends HTMLElement>(id: string, kind: new () => Kind): Kind {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new Error(`the page has no ${kind.name} with the id ${id}`);
}

/** Writes a text that may be cut off by the style sheet; the title has all of it. Unchanged texts are left alone. */
export function setText(target: HTMLElement, text: string): void {
  if (target.textContent === text) return;
  target.textContent = text;
  target.title = text;
}
