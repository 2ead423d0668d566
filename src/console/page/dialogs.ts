import type { ActionName, Actions } from '../contract.js';
import type { Permissions } from './api.js';
import { byId, element } from './dom.js';
import { duration, messageOf, plural } from './format.js';

const TOAST_MS = 8_000;

/** One field of a dialog. */
interface Field {
  readonly name: string;
  readonly label: string;
  readonly value?: string;
  readonly hint?: string;
  readonly kind?: 'text' | 'area' | 'check';
  readonly required?: boolean;
}

/** What a dialog asks before something is done. */
interface Question<Name extends ActionName> {
  readonly action: Name;
  readonly title: string;
  /** What will happen. */
  readonly text: string;
  readonly fields?: readonly Field[];
  /** On the button that does it. */
  readonly confirm: string;
  /** It takes something away from clients. */
  readonly danger?: boolean;
  body(values: Readonly<Record<string, string>>): Actions[Name]['body'];
  result(answer: Actions[Name]['answer']): string;
}

/** The dialogs that confirm each action, and the line that reports what became of it. */
export class Dialogs {
  readonly #dialog = element('dialog', { attributes: { 'aria-labelledby': 'dialog-title' } });
  #toastTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly permissions: Permissions) {
    document.body.append(this.#dialog);
  }

  /** A button that stands only where the visitor may do what it does. */
  button(action: ActionName, text: string, name: string, onClick: () => void): HTMLButtonElement {
    const attributes = { type: 'button', 'aria-label': name };
    const made = element('button', { class: 'quiet', attributes, onClick }, text);
    made.hidden = !this.permissions.allows(action);
    return made;
  }

  send(connectionId = ''): void {
    this.#ask({
      action: 'send',
      title: 'Send to a connection',
      text: 'The event goes to this connection alone, on whatever node it is.',
      fields: [
        { name: 'connectionId', label: 'Connection id', value: connectionId, required: true },
        { name: 'event', label: 'Event', value: 'message', required: true },
        { name: 'data', label: 'Data', kind: 'area', hint: 'JSON is sent as a value, anything else as text.' },
        { name: 'durable', label: 'Keep it in the mailbox when the client is away', kind: 'check' },
      ],
      confirm: 'Send',
      body: ({ connectionId: id = '', event = '', data = '', durable }) => ({
        connectionId: id,
        event,
        data: valueOf(data),
        ...(durable === undefined ? {} : { durable: true }),
      }),
      result: ({ outcome, code, ms }) => `Send: ${outcome}${codeText(code)} in ${duration(ms)}`,
    });
  }

  publish(topic = ''): void {
    this.#ask({
      action: 'publish',
      title: 'Publish to a topic',
      text: 'Every subscriber of the topic gets the event, in one order on every node.',
      fields: [
        { name: 'topic', label: 'Topic', value: topic, hint: 'Empty: a broadcast to every connection of every node.' },
        { name: 'event', label: 'Event', value: 'message', required: true },
        { name: 'data', label: 'Data', kind: 'area', hint: 'JSON is sent as a value, anything else as text.' },
      ],
      confirm: 'Publish',
      body: ({ topic: to = '', event = '', data = '' }) => ({
        ...(to === '' ? {} : { topic: to }),
        event,
        data: valueOf(data),
      }),
      result: ({ outcome, code, id }) => `Publish: ${outcome}${codeText(code)}${id === null ? '' : ` as ${id}`}`,
    });
  }

  close(connectionId: string): void {
    this.#ask({
      action: 'close',
      title: 'Close a connection',
      text: `The stream of ${connectionId} ends with sse.closed. With the reason closed its client comes back.`,
      fields: [{ name: 'reason', label: 'Reason', value: 'closed', required: true }],
      confirm: 'Close the connection',
      danger: true,
      body: ({ reason = 'closed' }) => ({ connectionId, reason }),
      result: closeText,
    });
  }

  revoke(user: string): void {
    this.#ask({
      action: 'revoke',
      title: 'Revoke a user',
      text: `Every stream of the user ${user} ends on every node. Its clients come back only with new credentials.`,
      confirm: 'Revoke the user',
      danger: true,
      body: () => ({ user }),
      result: closeText,
    });
  }

  drain(nodeId: string): void {
    this.#ask({
      action: 'drain',
      title: 'Drain a node',
      text: `${nodeId} takes no new streams, and sends its clients to other nodes in paced waves. It stays out until it is started again.`,
      confirm: 'Drain the node',
      danger: true,
      body: () => ({ nodeId }),
      result: ({ outcome }) => (outcome === 'delivered' ? `${nodeId} drains` : `Drain of ${nodeId}: ${outcome}`),
    });
  }

  stopSource(key: string): void {
    this.#ask({
      action: 'stop-source',
      title: 'Stop a source',
      text: `The source ${key} ends as completed. Its followers get a last event and do not come back.`,
      fields: [{ name: 'forget', label: 'Forget it, so that the key can run again at once', kind: 'check' }],
      confirm: 'Stop the source',
      danger: true,
      body: ({ forget }) => ({ key, ...(forget === undefined ? {} : { forget: true }) }),
      result: ({ outcome, code }) => `Stop of ${key}: ${outcome}${codeText(code)}`,
    });
  }

  /** Reports something for a few seconds. */
  report(text: string, tone: 'good' | 'bad'): void {
    const toast = byId('toast', HTMLElement);
    toast.textContent = text;
    toast.dataset['tone'] = tone;
    clearTimeout(this.#toastTimer);
    this.#toastTimer = setTimeout(() => (toast.textContent = ''), TOAST_MS);
  }

  #ask<Name extends ActionName>(question: Question<Name>): void {
    const problem = element('p', { class: 'problem', attributes: { role: 'alert' } });
    const confirm = element('button', question.danger === true ? 'danger' : 'primary', question.confirm);
    const cancel = element('button', { attributes: { type: 'button' }, onClick: () => this.#dialog.close() }, 'Cancel');
    const form = element(
      'form',
      { attributes: { method: 'dialog', autocomplete: 'off' } },
      element('h2', { attributes: { id: 'dialog-title' } }, question.title),
      element('p', '', question.text),
      ...(question.fields ?? []).map(fieldView),
      problem,
      element('div', 'dialog-foot', cancel, confirm),
    );
    form.addEventListener('submit', event => {
      event.preventDefault();
      confirm.disabled = true;
      problem.textContent = '';
      this.permissions.act(question.action, question.body(valuesOf(form))).then(
        answer => {
          this.#dialog.close();
          this.report(question.result(answer), 'good');
        },
        (error: unknown) => {
          confirm.disabled = false;
          problem.textContent = messageOf(error);
        },
      );
    });
    this.#dialog.replaceChildren(form);
    this.#dialog.showModal();
    // What is known already is filled in.
    const fields = [...form.querySelectorAll<HTMLInputElement | HTMLTextAreaElement>('input, textarea')];
    fields.find(({ type, value }) => type !== 'checkbox' && value === '')?.focus();
  }
}

function fieldView({ name, label, value = '', hint, kind = 'text', required = false }: Field): HTMLElement {
  const attributes = { name, required, spellcheck: 'false', autocapitalize: 'off' };
  if (kind === 'check') {
    return element('label', 'check', element('input', { attributes: { name, type: 'checkbox' } }), label);
  }
  const input = kind === 'area' ? element('textarea', { attributes }) : element('input', { attributes });
  input.value = value;
  return element('label', {}, label, input, ...(hint === undefined ? [] : [element('span', 'small', hint)]));
}

function valuesOf(form: HTMLFormElement): Record<string, string> {
  return Object.fromEntries(
    [...new FormData(form)].map(([name, value]) => [name, typeof value === 'string' ? value : '']),
  );
}

/** The value of JSON text, else the text. */
function valueOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function codeText(code: string | null): string {
  return code === null ? '' : ` (${code})`;
}

function closeText({ closed, missing, unavailable }: Actions['close']['answer']): string {
  if (unavailable !== null) return `Not done: ${unavailable}`;
  const silent = missing.length === 0 ? '' : `; no answer of ${missing.join(', ')}`;
  return closed === 0 ? `No stream was open${silent}` : `${plural(closed, 'stream')} closed${silent}`;
}
