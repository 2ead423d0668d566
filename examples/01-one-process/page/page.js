import { connect as connectStream } from '/client/index.js';

const MAX_OPEN_CLIENTS = 4;
const MAX_CLOSED_CARDS = 4;
const MAX_ROWS = 500;
const MAX_SHOWN_CHARACTERS = 20_000;
const TICK_MS = 1000;
const TICKS_PER_POLL = 2;
const POLL_TIMEOUT_MS = 5000;
const ACTION_TIMEOUT_MS = 15_000;

const CAP_REACHED =
  `At most ${MAX_OPEN_CLIENTS} open clients: over HTTP/1.1 a browser holds only 6 connections to a host, ` +
  'all tabs together, and would stall the rest. Close one first.';

const $ = id => document.getElementById(id);
const clients = new Set();

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

/** A stream and its card. The library's client connects, comes back and resumes. */
class Client {
  #stream;
  #card = $('client-template').content.firstElementChild.cloneNode(true);
  #topics;
  #received = 0;

  constructor(id, topics) {
    this.id = id;
    this.#topics = topics;
    this.#fillCard();
    this.open();
  }

  get card() {
    return this.#card;
  }

  get isClosed() {
    return this.#stream.state.kind === 'closed';
  }

  open() {
    const lastEventId = this.#stream?.lastEventId;
    // The page shows texts as they came.
    const options = { parse: text => text, ...(lastEventId && { lastEventId }) };
    this.#stream = connectStream(pathOf(['sse', 'connect', this.id], { topics: this.#topics }), options);
    this.#stream.onState(state => this.#onState(state));
    void this.#read(this.#stream);
    this.#onState(this.#stream.state);
  }

  close() {
    this.#stream.close();
  }

  tick() {
    this.#showState();
  }

  async #read(stream) {
    try {
      for await (const event of stream) this.#onEvent(event);
    } catch (error) {
      announce(`${this.id}: ${error.message}.`, 'bad');
    }
  }

  #onEvent(event) {
    this.#received += 1;
    setText(this.#part('.last-id'), event.lastEventId ?? '–');
    setText(this.#part('.received'), String(this.#received));
    addRow(this.id, event);
  }

  #onState(state) {
    const { kind, reason, nodeId } = state;
    if (reason === undefined) delete this.#card.dataset.reason;
    else this.#card.dataset.reason = reason;
    this.#card.dataset.state = this.#shownKind();
    if (kind === 'open') {
      setText(this.#part('.node'), nodeId ?? '–');
      showNode(nodeId);
      announce(`${this.id} is open on ${nodeId ?? 'a node'}.`);
    } else if (kind === 'waiting') announce(`The stream of ${this.id} ended (${reason}); it comes back.`);
    else if (kind === 'closed') announce(`${this.id} was closed: ${reason}.`);
    this.#part('.reopen').hidden = kind !== 'closed';
    this.#nameButton('.close', kind === 'closed' ? 'Remove' : 'Close');
    this.#showState();
    clientsChanged();
  }

  #shownKind() {
    const { kind, attempt } = this.#stream.state;
    return kind === 'waiting' || attempt > 0 ? 'reconnecting' : kind;
  }

  #showState() {
    const tones = { connecting: 'idle', open: 'good', reconnecting: 'warn', paused: 'idle', closed: 'bad' };
    const badge = this.#part('.state');
    badge.dataset.tone = tones[this.#shownKind()];
    setText(badge, this.#stateText());
  }

  #stateText() {
    const { kind, reason, retryAt } = this.#stream.state;
    if (kind === 'closed') return `closed: ${reason}`;
    if (kind === 'waiting') return `reconnecting in ${secondsUntil(retryAt)} s`;
    return this.#shownKind();
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

function secondsUntil(time) {
  return Math.max(0, Math.round((time - Date.now()) / 1000));
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
    const client = new Client(id, topics);
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
  client.close();
}

function reopenClient(client) {
  if (!capReached()) client.open();
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
  markPending();
  const headers = { 'content-type': type };
  return request('POST', segments, { query: { event: name }, headers, body });
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

function makeRow(clientId, { event, lastEventId = '', data }) {
  const row = $('row-template').content.firstElementChild.cloneNode(true);
  Object.assign(row.dataset, { client: clientId, event, id: lastEventId });
  row.querySelector('.time').textContent = timeText(new Date());
  setText(row.querySelector('.client-id'), clientId);
  setText(row.querySelector('.event'), event);
  setText(row.querySelector('.event-id'), lastEventId);
  row.querySelector('.data > div').textContent = shorten(typeof data === 'string' ? data : JSON.stringify(data));
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
  showReady(await request('GET', ['health', 'ready'], { timeout: POLL_TIMEOUT_MS }));
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
  for (const client of clients) client.tick();
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
