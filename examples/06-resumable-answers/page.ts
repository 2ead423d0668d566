/** Shows the answer as it grows. Reload it, open it twice, end the node: not a word is lost. */
export const PAGE = `<!doctype html>
<title>Resumable answers</title>
<h1>An answer, word by word</h1>
<p id="answer"></p>
<p id="state">connecting</p>
<script type="module">
  import { connect } from '/client/index.js';
  const question = new URLSearchParams(location.search).get('q') ?? 'anything';
  const stream = connect('/answers/' + encodeURIComponent(question));
  const answer = document.getElementById('answer');
  const state = document.getElementById('state');
  stream.on('word', ({ word }) => answer.append(word + ' '));
  stream.onGap(({ reason }) => (state.textContent = 'words are missing: ' + reason));
  stream.onState(({ kind, reason }) => (state.textContent = reason ?? kind));
</script>
`;
