import { connect, type StreamState } from '../../../src/client/index.js';
import { byId, setText } from '../../../src/console/page/dom.js';

const question = new URLSearchParams(location.search).get('q') ?? 'anything';
const answer = byId('answer', HTMLElement);
const words = byId('words', HTMLElement);
const state = byId('state', HTMLElement);
byId('question', HTMLInputElement).value = question;

const stream = connect<{ word: { n: number; word: string } }>(
  `/answers/${encodeURIComponent(question)}${location.search}`,
);
stream.on('word', ({ n, word }, { lastEventId = '' }) => {
  answer.append(`${word} `);
  answer.scrollTop = answer.scrollHeight;
  setText(words, String(n + 1));
  setText(byId('last-id', HTMLElement), lastEventId);
});
stream.onGap(({ reason }) => show(`words are missing: ${reason}`, 'bad'));
stream.onState(showState);
showState(stream.state);

function showState(current: StreamState): void {
  show(...textOf(current));
}

function textOf(current: StreamState): [text: string, tone: string] {
  switch (current.kind) {
    case 'connecting':
    case 'paused':
      return [current.kind, 'idle'];
    case 'open':
      return [`streams from ${current.nodeId ?? 'a node'}`, 'good'];
    case 'waiting':
      return [`comes back: ${current.reason}`, 'warn'];
    case 'closed':
      return [current.reason, current.reason === 'completed' ? 'good' : 'bad'];
  }
}

function show(text: string, tone: string): void {
  state.dataset['tone'] = tone;
  setText(state, text);
}
