// Looks an order up and shows it. Everything from outside becomes text, never markup.
'use strict';

const at = (id) => document.getElementById(id);
const label = (name) => name.replaceAll('_', ' ');
let latest = 0;

// Integers of 64 bits do not fit a JavaScript number: long ones are kept as text behind this mark,
// which no order's text may contain.
const EXACT = '\u0000';

function parse(json) {
  const longNumbers = /"(?:[^"\\]|\\.)*"|-?\d{16,}/g;
  return JSON.parse(json.replace(longNumbers,
    (token) => (token.startsWith('"') ? token : `"\\u0000${token}"`)));
}

const print = (value) => JSON.stringify(value, null, 2).replace(/"\\u0000(-?\d+)"/g, '$1');
const isNumber = (value) => typeof value === 'number' || String(value).startsWith(EXACT);

// A value as text; a time in seconds also as a date.
function textOf(name, value) {
  const text = String(value).replace(EXACT, '');
  const time = new Date(Number(text) * 1000);
  if (!name.endsWith('_dt') || !isNumber(value) || Number.isNaN(time.getTime())) return text;
  return `${text} (${time.toISOString().replace('T', ' ').replace('.000Z', ' UTC')})`;
}

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function notice(text, isBad) {
  at('notice').textContent = text;
  at('notice').classList.toggle('bad', Boolean(isBad));
  at('notice').hidden = text === '';
}

function describe(list, object) {
  const rows = [];
  for (const [name, value] of Object.entries(object)) {
    if (value === '' || typeof value === 'object') continue;
    rows.push(element('dt', label(name)), element('dd', textOf(name, value)));
  }
  list.replaceChildren(...rows);
}

function show(order, origin) {
  const { order_uid: uid, delivery, payment, items, ...head } = order;
  at('order-uid').textContent = uid;
  at('origin').textContent = origin;
  describe(at('head'), head);
  describe(at('delivery'), delivery ?? {});
  describe(at('payment'), payment ?? {});
  showItems(items ?? []);
  at('json').textContent = print(order);
  at('order').hidden = false;
}

// One column for each field of the first item, in its order.
function showItems(items) {
  const names = Object.keys(items[0] ?? {});
  const cell = (kind, name, text) => element(kind, text,
    isNumber(items[0][name]) ? 'number' : '');
  at('items-title').textContent = `Items (${items.length})`;
  at('columns').replaceChildren(...names.map((name) => cell('th', name, label(name))));
  at('items').replaceChildren(...items.map((item) => {
    const row = document.createElement('tr');
    row.append(...names.map((name) => cell('td', name, textOf(name, item[name] ?? ''))));
    return row;
  }));
}

function origin(response, took) {
  const status = response.headers.get('Cache-Status') ?? '';
  const behind = response.headers.get('Order-Behind');
  const words = [status.includes('hit') ? 'from the cache' : 'from the database', `${took} ms`];
  if (behind !== null) words.push(`the database is ${behind} records behind`);
  if (status.includes('unverified')) words.push('there may be a newer version');
  return words.join(' · ');
}

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

// The token is kept nowhere but in its field.
function headers() {
  const token = at('token').value.trim();
  const accept = { Accept: 'application/json' };
  return token === '' ? accept : { ...accept, Authorization: `Bearer ${token}` };
}

async function lookUp(uid) {
  const turn = ++latest;
  const path = `api/order/${encodeURIComponent(uid)}`;
  at('order').hidden = true;
  notice('Looking it up…');
  for (let attempt = 0; attempt < 15; attempt += 1) {
    const started = performance.now();
    const response = await fetch(path, { headers: headers() });
    const body = parse(await response.text());
    if (turn !== latest) return;
    if (response.status === 200) {
      notice('');
      show(body, origin(response, Math.round(performance.now() - started)));
      return;
    }
    if (response.status !== 202) {
      if (response.status === 401 || response.status === 403) {
        at('access').hidden = false;
        at('token').focus();
      }
      notice([body.title, body.detail].filter(Boolean).join(': '), true);
      return;
    }
    notice('The lookup is queued, requesting it again…');
    await pause(Number(response.headers.get('Retry-After') ?? 1));
    if (turn !== latest) return;
  }
  notice('No answer yet: the consumer may be down or far behind.', true);
}

async function submit(uid) {
  at('search').querySelector('button').disabled = true;
  try {
    await lookUp(uid);
  } catch {
    notice('The API cannot be reached.', true);
  } finally {
    at('search').querySelector('button').disabled = false;
  }
}

at('search').addEventListener('submit', (event) => {
  event.preventDefault();
  const uid = at('uid').value.trim();
  if (uid === '') return;
  history.replaceState(null, '', `#${encodeURIComponent(uid)}`);
  submit(uid);
});

if (location.hash.length > 1) {
  try {
    at('uid').value = decodeURIComponent(location.hash.slice(1));
    submit(at('uid').value);
  } catch {
    notice('');
  }
}
