/** One view of the console. It follows its data while it is shown, and nothing afterwards. */
export interface View {
  /** In the address of the page. */
  readonly id: string;
  readonly title: string;
  readonly element: HTMLElement;
  /** The view is shown. `argument` is the rest of the address. */
  open(argument: string): void;
  /** Another view is shown. */
  close(): void;
}
