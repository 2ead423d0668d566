import type { Block } from './options.js';

const LINE_BREAK = /\r\n|\n|\r/;

/** What a parser reports. */
interface ParserListener {
  onBlock(block: Block): unknown;
  onRetry(ms: number): void;
}

/**
 * Reads event-stream text (HTML standard, section 9.2.6) that is cut anywhere. Unlike the parsers on npm it also reports a
 * block that has an id and no data: the server moves the last id of a quiet client with one.
 */
export class EventStreamParser {
  /** The line that is not complete yet, as it came. */
  #parts: string[] = [];
  #partial = 0;
  #skipLineFeed = false;
  #dataSize = 0;
  #event = '';
  #data: string[] = [];
  #id: string | undefined;
  #confirm: string | undefined;

  constructor(
    private readonly listener: ParserListener,
    private readonly maxEventSize: number,
  ) {}

  /** @throws RangeError when an event is larger than the bound */
  feed(text: string): void {
    const chunk = this.#skipLineFeed && text.startsWith('\n') ? text.slice(1) : text;
    if (text !== '') this.#skipLineFeed = text.endsWith('\r');
    const [first = '', ...lines] = chunk.split(LINE_BREAK);
    this.#parts.push(first);
    this.#partial += first.length;
    const rest = lines.pop();
    if (rest !== undefined) {
      this.#line(this.#parts.join(''));
      for (const line of lines) this.#line(line);
      this.#parts = [rest];
      this.#partial = rest.length;
    }
    if (this.#partial + this.#dataSize > this.maxEventSize) {
      throw new RangeError(`an event is larger than ${this.maxEventSize} characters (maxEventSize)`);
    }
  }

  #line(line: string): void {
    if (line === '') {
      this.#dispatch();
      return;
    }
    const [, field = '', value = ''] = /^([^:]*):? ?([^]*)$/.exec(line) ?? [];
    if (field === 'data') {
      this.#data.push(value);
      this.#dataSize += value.length;
    }
    if (field === 'event') this.#event = value;
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
    else if (field === 'confirm') this.#confirm = value;
    else if (field === 'retry' && /^\d+$/.test(value)) this.listener.onRetry(Number(value));
  }

  #dispatch(): void {
    const block = {
      event: this.#event || 'message',
      data: this.#data.length > 0 ? this.#data.join('\n') : undefined,
      id: this.#id,
      confirm: this.#confirm,
    };
    this.#event = '';
    this.#data = [];
    this.#id = this.#confirm = undefined;
    this.#dataSize = 0;
    if (block.data !== undefined || block.id !== undefined) this.listener.onBlock(block);
  }
}
