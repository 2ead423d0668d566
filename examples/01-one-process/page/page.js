const MAX_OPEN_CLIENTS = 4;
const MAX_CLOSED_CARDS = 4;
const MAX_ROWS = 500;
const MAX_SHOWN_CHARACTERS = 20_000;
const MAX_REOPENS = 10;
const TICK_MS = 1000;
const TICKS_PER_POLL = 2;
const POLL_TIMEOUT_MS = 5000;
const ACTION_TIMEOUT_MS = 15_000;

const LIBRARY_EVENTS = ['connected', 'message', 'sse.reset', 'sse.closed'];
const REASONS_TO_COME_BACK = new Set(['draining', 'max-age', 'slow', 'stale', 'shutdown', 'completed']);
const CAP_REACHED =
  `At most ${MAX_OPEN_CLIENTS} open clients: over HTTP/1.1 a browser holds only 6 connections to a host, ` +
  'all tabs together, and would stall the rest. Close one first.';

const $ = id => document.getElementById(id);
const clients = new Set();
const sentNames = new Set();

// --- Requests -------------------------------------------------------------------------------------------------------

/** Never rejects: a server that does not answer is an answer with status 0. */
async function request(method, segments, { query, timeout = ACTION_TIMEOUT_MS, ...options } = {}) {
  try {
    const response = await fetch(pathOf(segments, query), {
      method,
      cache: 'no-store',
      signal: AbortSignal.timeout(timeout),
      ...options,
    });
    return { ok: response.ok, status: response.status, body: parseJson(await response.text()) };
  } catch (error) {
    return {
      ok: false,
      status: 0,
      body: { error: { code: 'no-answer', message: reasonOf(error) } },
    };
  }
}

function reasonOf(error) {
  if (error.name === 'TimeoutError') return 'The server did not answer in time.';
  if (error instanceof RangeError) return error.message;
  return `The server cannot be reached (${error.message}).`;
}

/** @throws RangeError for a name that cannot stand in a path. */
function pathOf(segments, query = {}) {
  const search = new URLSearchParams(query).toString();
  return `/${segments.map(encodeSegment).join('/')}${search === '' ? '' : `?${search}`}`;
}

function encodeSegment(segment) {
  // Browsers resolve these two away even when they are percent-encoded.
  if (segment === '.' || segment === '..') {
    throw new RangeError(`"${segment}" cannot be part of an address; choose another name.`);
  }
  if (!segment.isWellFormed()) throw new RangeError('The name holds half a character.');
  return encodeURIComponent(segment);
}

/** The value of a JSON text that is an object, else an empty object. */
function parseJson(text) {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

function splitNames(text) {
  return text
    .split(',')
    .map(name => name.trim())
    .filter(name => name !== '');
}

// --- One client -----------------------------------------------------------------------------------------------------

/** An EventSource and its card. */
class Client {
  #source;
  #listening = new Set();
  #card = $('client-template').content.firstElementChild.cloneNode(true);
  #topics;
  #state = { kind: 'connecting' };
  #lastEventId = '';
  #received = 0;
  #opened = false;
  #reopens = 0;

  constructor(id, topics, names) {
    this.id = id;
    this.#topics = topics;
    this.names = new Set([...LIBRARY_EVENTS, ...names]);
    this.#fillCard();
    this.open();
  }

  get card() {
    return this.#card;
  }

  get isClosed() {
    return this.#state.kind === 'closed';
  }

  open() {
    const query = { topics: this.#topics };
    // A new EventSource knows nothing of the one before it, and a page cannot set the Last-Event-ID header.
    if (this.#lastEventId !== '') query.lastEventId = this.#lastEventId;
    const source = new EventSource(pathOf(['sse', 'connect', this.id], query));
    this.#source = source;
    this.#listening.clear();
    this.#become({ kind: 'connecting' });
    source.addEventListener('open', event => this.#onOpen(event));
    source.addEventListener('error', event => this.#onError(event));
    for (const name of this.names) this.listen(name);
  }

  listen(name) {
    this.names.add(name);
    if (this.#listening.has(name)) return;
    this.#listening.add(name);
    this.#source.addEventListener(name, event => this.#onEvent(event));
  }

  reopen() {
    this.#opened = false;
    this.#reopens = 0;
    this.open();
  }

  close(reason) {
    this.#source.close();
    this.#become({ kind: 'closed', reason });
  }

  tick(now) {
    if (this.#state.kind !== 'reconnecting') return;
    if (this.#state.at !== undefined && this.#state.at <= now) this.open();
    else this.#showState();
  }

  #onOpen(event) {
    if (event instanceof MessageEvent) return;
    this.#opened = true;
    this.#reopens = 0;
    this.#become({ kind: 'open' });
  }

  #onError(event) {
    // An event that the server named `error` comes to the same listener.
    if (event instanceof MessageEvent) return;
    if (this.#source.readyState === EventSource.CLOSED) void this.#onRefused();
    else this.#becomeReconnecting();
  }

  #becomeReconnecting() {
    const since = this.#state.kind === 'reconnecting' ? this.#state.since : Date.now();
    this.#become({ kind: 'reconnecting', since });
  }

  /** An EventSource gives up for good on any answer but a stream, such as the 503 of a node that drains. */
  async #onRefused() {
    const source = this.#source;
    this.#becomeReconnecting();
    const worthwhile = this.#opened || !(await isReady());
    if (this.#source !== source || this.isClosed) return;
    if (!worthwhile || this.#reopens >= MAX_REOPENS) return this.close('refused by the server');
    this.#reopens += 1;
    const wait = Math.min(30_000, 1000 * 2 ** this.#reopens) * (0.5 + Math.random() / 2);
    this.#become({ ...this.#state, at: Date.now() + wait });
  }

  #onEvent(event) {
    // The EventSource's own `open` and `error` come here when somebody listens to events of these names.
    if (!(event instanceof MessageEvent)) return;
    this.#received += 1;
    this.#lastEventId = event.lastEventId;
    this.#showNumbers();
    addRow(this.id, event);
    if (event.type === 'connected') this.#onConnected(parseJson(event.data));
    else if (event.type === 'sse.closed') this.#onClosed(parseJson(event.data));
  }

  #onConnected({ nodeId }) {
    setText(this.#part('.node'), nodeId ?? '–');
    showNode(nodeId);
    announce(`${this.id} is open on ${nodeId ?? 'a node'}.`);
  }

  #onClosed({ reason = 'unknown' }) {
    if (REASONS_TO_COME_BACK.has(reason)) {
      this.#card.dataset.reason = reason;
      announce(`The server ended the stream of ${this.id} (${reason}); it comes back.`);
    } else {
      this.close(String(reason));
      announce(`${this.id} was closed: ${reason}.`);
    }
  }

  #become(state) {
    this.#state = state;
    if (state.kind === 'closed') this.#card.dataset.reason = state.reason;
    else if (state.kind !== 'reconnecting') delete this.#card.dataset.reason;
    this.#card.dataset.state = state.kind;
    this.#part('.reopen').hidden = !this.isClosed;
    this.#nameButton('.close', this.isClosed ? 'Remove' : 'Close');
    this.#showState();
    clientsChanged();
  }

  #showState() {
    const tones = { connecting: 'idle', open: 'good', reconnecting: 'warn', closed: 'bad' };
    const badge = this.#part('.state');
    badge.dataset.tone = tones[this.#state.kind];
    setText(badge, this.#stateText());
  }

  #stateText() {
    const { kind, reason, at, since } = this.#state;
    if (kind === 'closed') return `closed: ${reason}`;
    if (kind !== 'reconnecting') return kind;
    if (at !== undefined) return `reconnecting in ${secondsFrom(Date.now(), at)} s`;
    return `reconnecting for ${secondsFrom(since, Date.now())} s`;
  }

  #showNumbers() {
    setText(this.#part('.last-id'), this.#lastEventId || '–');
    setText(this.#part('.received'), String(this.#received));
  }

  #fillCard() {
    this.#card.dataset.id = this.id;
    setText(this.#part('.id'), this.id);
    setText(this.#part('.topics'), this.#topics || '–');
    this.#nameButton('.reopen', 'Reconnect');
    this.#part('.close').addEventListener('click', () => closeOrRemove(this));
    this.#part('.reopen').addEventListener('click', () => reopenClient(this));
  }

  /** Several cards have the same buttons; a screen reader needs to know whose they are. */
  #nameButton(selector, text) {
    this.#part(selector).textContent = text;
    this.#part(selector).setAttribute('aria-label', `${text} ${this.id}`);
  }

  #part(selector) {
    return this.#card.querySelector(selector);
  }
}

function secondsFrom(start, end) {
  return Math.max(0, Math.round((end - start) / 1000));
}

/** Long names are cut off by the style sheet; the title keeps them readable. */
function setText(element, text) {
  element.textContent = text;
  element.title = text;
}

// --- All clients of the page ----------------------------------------------------------------------------------------

function openClients() {
  return [...clients].filter(client => !client.isClosed);
}

function connect(event) {
  event.preventDefault();
  if (capReached()) return;
  const id = $('client-id').value;
  try {
    const topics = splitNames($('topics').value).join(',');
    const names = [...splitNames($('event-names').value), ...sentNames];
    const client = new Client(id, topics, names);
    removeClosed(id);
    clients.add(client);
    $('clients').prepend(client.card);
  } catch (error) {
    return announce(reasonOf(error), 'bad');
  }
  announce(`Connecting ${id}…`);
  offerId(id);
  $('client-id').value = randomId();
  clientsChanged();
}

function capReached() {
  const reached = openClients().length >= MAX_OPEN_CLIENTS;
  if (reached) announce(CAP_REACHED, 'warn');
  return reached;
}

function closeOrRemove(client) {
  if (client.isClosed) return removeClient(client);
  client.close('by this page');
  announce(`${client.id} was closed by this page.`);
}

function reopenClient(client) {
  if (!capReached()) client.reopen();
}

function removeClient(client) {
  clients.delete(client);
  client.card.remove();
  clientsChanged();
}

function removeClosed(id) {
  for (const client of clients) if (client.isClosed && client.id === id) removeClient(client);
}

function clientsChanged() {
  const closed = [...clients].filter(client => client.isClosed);
  for (const client of closed.slice(0, -MAX_CLOSED_CARDS)) removeClient(client);
  document.querySelector('#clients > .empty').hidden = clients.size > 0;
  const ids = new Set([...clients].map(client => client.id));
  $('client-ids').replaceChildren(...[...ids].map(id => new Option(id, id)));
}

/** Fills in the id of a new client where the user has not written one. */
function offerId(id) {
  for (const input of [$('send-to'), $('close-id')]) {
    if (input.value === (input.dataset.offered ?? '')) input.value = input.dataset.offered = id;
  }
  const filter = $('log-filter');
  if (![...filter.options].some(option => option.value === id)) filter.add(new Option(id, id));
}

function randomId() {
  const letters = 'abcdefghijkmnpqrstuvwxyz23456789';
  const bytes = crypto.getRandomValues(new Uint8Array(4));
  return `client-${[...bytes].map(byte => letters[byte % letters.length]).join('')}`;
}

function announce(text, tone = '') {
  $('status').textContent = text;
  $('status').dataset.tone = tone;
}

// --- Send, broadcast, publish, close --------------------------------------------------------------------------------

async function send(event) {
  event.preventDefault();
  const to = $('send-to').value;
  const type = $('send-type').value;
  const answer = await post(['sse', 'send', to], $('send-event').value, $('send-body').value, type);
  const receipt = answer.body.receipt ?? answer.body;
  showAnswer(`Send to ${to}`, answer, receipt.outcome ?? 'sent', {
    node: receipt.nodeId,
    time: receipt.ms === undefined ? undefined : `${Math.round(receipt.ms * 10) / 10} ms`,
  });
}

async function broadcast(event) {
  event.preventDefault();
  const name = $('broadcast-event').value;
  const answer = await post(['sse', 'broadcast'], name, $('broadcast-body').value);
  const { local, nodes, degraded } = answer.body;
  const outcome = degraded ? 'degraded' : 'accepted';
  showAnswer('Broadcast', answer, outcome, { 'connections here': local, nodes });
}

async function publish(event) {
  event.preventDefault();
  const topic = $('publish-topic').value;
  const name = $('publish-event').value;
  const answer = await post(['sse', 'topics', topic], name, $('publish-body').value);
  showAnswer(`Publish to ${topic}`, answer, 'accepted', { id: answer.body.id });
}

async function closeConnection(event) {
  event.preventDefault();
  const id = $('close-id').value;
  markPending();
  showAnswer(`Close ${id}`, await request('DELETE', ['sse', 'connections', id]), 'closed', {});
}

function post(segments, name, body, type = 'text/plain') {
  hearEverywhere(name);
  markPending();
  const headers = { 'content-type': type };
  return request('POST', segments, { query: { event: name }, headers, body });
}

function hearEverywhere(name) {
  if (name === '') return;
  sentNames.add(name);
  for (const client of clients) client.listen(name);
}

function markPending() {
  $('receipt').dataset.state = 'pending';
}

/** `facts` are shown as they are, except those that are undefined. */
function showAnswer(what, { ok, status, body }, outcome, facts) {
  const box = $('receipt');
  const error = ok ? undefined : (body.error ?? { code: `status ${status}`, message: '' });
  const label = error === undefined ? outcome : (body.receipt?.outcome ?? error.code);
  const badge = box.querySelector('.outcome');
  box.dataset.state = ok ? 'ok' : 'error';
  box.dataset.outcome = label;
  box.dataset.answer = String(Number(box.dataset.answer) + 1);
  badge.dataset.tone = ok ? toneOf(outcome) : 'bad';
  setText(badge, label);
  setText(box.querySelector('.what'), what);
  box.querySelector('.detail').replaceChildren(...factNodes(facts), ...errorNodes(error, status));
}

function toneOf(outcome) {
  return outcome === 'buffered' || outcome === 'stored' || outcome === 'degraded' ? 'warn' : 'good';
}

function factNodes(facts) {
  return Object.entries(facts)
    .filter(([, value]) => value !== undefined)
    .flatMap(([name, value]) => [span('fact', `${name} ${value}`, { fact: name }), ' ']);
}

function errorNodes(error, status) {
  if (error === undefined) return [];
  const http = status === 0 ? [] : [span('error-status', String(status)), ' '];
  return [...http, span('error-code', error.code), ' ', span('error-message', error.message ?? '')];
}

function span(className, text, data = {}) {
  const element = document.createElement('span');
  element.className = className;
  element.textContent = text;
  Object.assign(element.dataset, data);
  return element;
}

// --- Event log ------------------------------------------------------------------------------------------------------

const log = { body: document.querySelector('#log tbody'), paused: false, held: [] };

function addRow(clientId, event) {
  const row = makeRow(clientId, event);
  if (log.paused) holdRow(row);
  else showRow(row);
}

function makeRow(clientId, { type, lastEventId, data }) {
  const row = $('row-template').content.firstElementChild.cloneNode(true);
  Object.assign(row.dataset, { client: clientId, event: type, id: lastEventId });
  row.querySelector('.time').textContent = timeText(new Date());
  setText(row.querySelector('.client-id'), clientId);
  setText(row.querySelector('.event'), type);
  setText(row.querySelector('.event-id'), lastEventId);
  row.querySelector('.data > div').textContent = shorten(data);
  return row;
}

function timeText(date) {
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()];
  const text = clock.map(part => String(part).padStart(2, '0')).join(':');
  return `${text}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

function shorten(text) {
  if (text.length <= MAX_SHOWN_CHARACTERS) return text;
  return `${text.slice(0, MAX_SHOWN_CHARACTERS)}… (${text.length} characters)`;
}

function holdRow(row) {
  log.held.push(row);
  if (log.held.length > MAX_ROWS) log.held.shift();
  showPause();
}

function showRow(row) {
  applyFilter(row);
  log.body.prepend(row);
  while (log.body.rows.length > MAX_ROWS) log.body.lastElementChild.remove();
  showEmpty();
}

function applyFilter(row) {
  const wanted = $('log-filter').value;
  row.hidden = wanted !== '' && row.dataset.client !== wanted;
}

function filterLog() {
  for (const row of log.body.rows) applyFilter(row);
  showEmpty();
}

function togglePause() {
  log.paused = !log.paused;
  if (!log.paused) for (const row of log.held.splice(0)) showRow(row);
  showPause();
}

function clearLog() {
  log.body.replaceChildren();
  log.held.length = 0;
  showPause();
  showEmpty();
}

function showPause() {
  const button = $('log-pause');
  button.setAttribute('aria-pressed', String(log.paused));
  button.textContent = log.held.length > 0 ? `Pause (${log.held.length})` : 'Pause';
}

function showEmpty() {
  $('log-empty').hidden = log.body.querySelector('tr:not([hidden])') !== null;
}

// --- Counts and readiness -------------------------------------------------------------------------------------------

async function poll() {
  // One after the other: with four open streams a browser has two connections left, and a send needs one of them.
  showCounts(await request('GET', ['sse', 'connections'], { timeout: POLL_TIMEOUT_MS }));
  showReady(await askReady());
}

function askReady() {
  return request('GET', ['health', 'ready'], { timeout: POLL_TIMEOUT_MS });
}

async function isReady() {
  return (await askReady()).ok;
}

function showCounts({ ok, status, body }) {
  const { local, cluster, degraded, nodes } = ok ? body : {};
  const counts = Object.entries(nodes ?? {});
  $('count-local').textContent = local ?? '–';
  $('count-cluster').textContent = cluster ?? '–';
  showNodes(counts);
  showCoordinator(ok, status, degraded === true || cluster === null, counts.length);
  // Without an open client the answer of a lone node is the only sign of who answers.
  if (counts.length === 1 && openClients().length === 0) showNode(counts[0][0]);
}

function showCoordinator(ok, status, degraded, nodeCount) {
  if (!ok) return showBadge('coordinator', status === 0 ? 'no answer' : `answers ${status}`, 'bad');
  if (degraded) return showBadge('coordinator', 'degraded: this node only', 'warn');
  showBadge('coordinator', nodeCount === 1 ? 'works, 1 node' : `works, ${nodeCount} nodes`, 'good');
}

function showNodes(counts) {
  const signature = JSON.stringify(counts);
  const list = $('nodes');
  // Rebuilding an unchanged list would throw away the reader's selection and place.
  if (list.dataset.shown === signature) return;
  list.dataset.shown = signature;
  list.replaceChildren(...counts.map(nodeItem));
}

function nodeItem([nodeId, count]) {
  const item = document.createElement('li');
  item.dataset.node = nodeId;
  item.dataset.count = count;
  item.append(span('name', nodeId), span('count', String(count)));
  return item;
}

function showNode(nodeId) {
  if (nodeId !== undefined) setText($('node'), nodeId);
}

function showReady({ ok, status, body }) {
  if (status === 0) showBadge('ready', 'no answer', 'bad');
  else showBadge('ready', ok ? 'ready' : 'not ready', ok ? 'good' : 'bad');
  setText($('ready-reasons'), status === 0 ? body.error.message : reasonsText(body));
}

function reasonsText({ reasons, error }) {
  if (Array.isArray(reasons)) return reasons.map(reason => reason?.code ?? reason).join(', ');
  return error?.message ?? error?.code ?? '';
}

/** Writes only what changed, because a live region is read aloud at each change. */
function showBadge(id, text, tone) {
  const badge = $(id);
  if (badge.textContent === text) return;
  badge.dataset.tone = tone;
  setText(badge, text);
}

// --- Clockwork ------------------------------------------------------------------------------------------------------

const clock = { timer: undefined, ticks: 0, polling: false };

function tick() {
  const now = Date.now();
  for (const client of clients) client.tick(now);
  if (clock.ticks++ % TICKS_PER_POLL === 0) void pollOnce();
}

async function pollOnce() {
  if (clock.polling) return;
  clock.polling = true;
  try {
    await poll();
  } finally {
    clock.polling = false;
  }
}

function followVisibility() {
  clearInterval(clock.timer);
  if (document.visibilityState === 'hidden') return;
  clock.ticks = 0;
  clock.timer = setInterval(tick, TICK_MS);
  tick();
}

function submitOnCtrlEnter(event) {
  if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  event.target.form.requestSubmit();
}

$('client-id').value = randomId();
$('connect-form').addEventListener('submit', connect);
$('send-form').addEventListener('submit', send);
$('send-body').addEventListener('keydown', submitOnCtrlEnter);
$('broadcast-form').addEventListener('submit', broadcast);
$('publish-form').addEventListener('submit', publish);
$('close-form').addEventListener('submit', closeConnection);
$('log-filter').addEventListener('change', filterLog);
$('log-pause').addEventListener('click', togglePause);
$('log-clear').addEventListener('click', clearLog);
document.addEventListener('visibilitychange', followVisibility);
followVisibility();
