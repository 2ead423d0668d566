/** Shows the answer as it grows. Reload it, open it twice, end the node: not a word is lost. */
export const PAGE = `<!doctype html>
<title>Resumable answers</title>
<h1>An answer, word by word</h1>
<p id="answer"></p>
<p id="state">connecting</p>
<script>
  const question = new URLSearchParams(location.search).get('q') ?? 'anything';
  const source = new EventSource('/answers/' + encodeURIComponent(question));
  const answer = document.getElementById('answer');
  const state = document.getElementById('state');
  source.addEventListener('connected', () => (state.textContent = 'following'));
  source.addEventListener('word', ({ data }) => answer.append(JSON.parse(data).word + ' '));
  source.addEventListener('sse.reset', ({ data }) => (state.textContent = JSON.parse(data).reason));
  source.addEventListener('sse.closed', ({ data }) => (state.textContent = JSON.parse(data).reason));
</script>
`;
