// The console: calls live, one call, history, operation. For keys that have one: they see all.

import { ApiError, ask, cancel, newId, now, place, session } from "./api.js";
import { CallView } from "./call-view.js";
import { Calls, LISTED } from "./calls.js";
import { AnswerChart, OutcomeChart } from "./charts.js";
import { element, h, put, words } from "./dom.js";
import { median, placedAt, secondsToAnswer } from "./figures.js";
import { HistoryView } from "./history-view.js";
import { KeysView } from "./keys-view.js";
import { typed } from "./number.js";
import { OperationView } from "./operation-view.js";
import { ReportsView } from "./reports-view.js";
import { clock, kind, legState, outcomeName } from "./words.js";

/** @typedef {import("./types.js").Listed} Listed */

/** Rows that are added at once. */
const ROWS = 100;

/** Seconds for which a call that ended stays among those in progress. */
const LINGER = 5;

const calls = new Calls();
const callView = new CallView(element("call", HTMLElement));
const historyView = new HistoryView();
const operation = new OperationView();
const keysView = new KeysView();
const reportsView = new ReportsView();

const signIn = element("sign-in", HTMLFormElement);
const key = element("key", HTMLInputElement);
const signInError = element("sign-in-error", HTMLElement);
const link = element("link", HTMLElement);
const nav = element("nav", HTMLElement);
const signOut = element("sign-out", HTMLButtonElement);
const views = ["live", "history", "call", "keys", "reports", "operation"].map((id) => element(id, HTMLElement));

let signedIn = false;

// Sign in

/** @param {string} [message] */
function showSignIn(message = "") {
  signedIn = false;
  session.key = "";
  calls.stop();
  callView.close();
  operation.close();
  keysView.close();
  reportsView.close();
  signInError.textContent = message;
  for (const view of views) view.hidden = true;
  nav.hidden = link.hidden = signOut.hidden = true;
  signIn.hidden = false;
  key.value = "";
  key.focus();
}

/** Whether the key that asks opens the console. A token sees no keys, and opens none. */
async function opensConsole() {
  try {
    /** @type {{key: string, keys: {name: string, console: boolean}[]}} */
    const answer = await ask("/keys");
    return answer.keys.some(({ name, console: opens }) => opens && name === answer.key);
  } catch (error) {
    if (error instanceof ApiError && error.code === "not_allowed") return false;
    throw error;
  }
}

/** Show out whose key has lost its console while the connection was away. */
async function stay() {
  const opens = await opensConsole().catch(() => true); // what is wrong shows elsewhere
  if (!opens && signedIn) showSignIn("This key opens no console any more.");
}

async function enter() {
  try {
    if (!(await opensConsole())) {
      showSignIn("This key opens no console.");
      return;
    }
    await calls.start();
  } catch (error) {
    calls.stop();
    if (error instanceof ApiError && error.code === "unreachable" && signIn.hidden) {
      signInError.textContent = words(error);
      signIn.hidden = false;
      return;
    }
    showSignIn(words(error));
    return;
  }
  signedIn = true;
  key.value = "";
  signIn.hidden = true;
  nav.hidden = link.hidden = signOut.hidden = false;
  route();
}

signIn.addEventListener("submit", (event) => {
  event.preventDefault();
  session.key = key.value.trim() || session.key;
  signInError.textContent = "";
  enter();
});
signOut.addEventListener("click", () => showSignIn());
calls.addEventListener("refused", () => showSignIn("This key is not valid any more."));

// Where we are

function route() {
  if (!signedIn) return;
  const [name, id = ""] = location.hash.slice(1).split("/");
  const shown = views.find((view) => view.id === name)?.id ?? "live";
  for (const view of views) view.hidden = view.id !== shown;
  for (const one of nav.querySelectorAll("a")) {
    const here = one.hash === `#${shown}` || (shown === "call" && one.hash === "#history");
    if (here) one.setAttribute("aria-current", "page");
    else one.removeAttribute("aria-current");
  }
  if (shown === "call") callView.open(id);
  else callView.close();
  if (shown === "operation") operation.open();
  else operation.close();
  if (shown === "keys") keysView.open();
  else keysView.close();
  if (shown === "reports") reportsView.open();
  else reportsView.close();
  if (shown === "history") historyView.open();
  if (shown === "live") draw(true);
}

window.addEventListener("hashchange", route);

// Live

const tiles = element("tiles", HTMLElement);
/** @param {string} name */
function tile(name) {
  const value = h("dd", {}, "–");
  tiles.append(h("div", {}, h("dt", {}, name), value));
  return value;
}
const inProgress = tile("In progress");
const lastHour = tile("Last hour");
const talked = tile("Talked");
const toAnswer = tile("Half answered within");

const outcomeChart = new OutcomeChart();
const answerChart = new AnswerChart();
element("charts", HTMLElement).append(outcomeChart.figure, answerChart.figure);

const table = element("live-table", HTMLTableElement);
const more = element("more-live", HTMLButtonElement);
const nobody = element("nobody", HTMLElement);
const bounded = element("bounded", HTMLElement);

/** @typedef {{row: HTMLTableRowElement, age: Element, first: Element, firstChip: Element,
 *   second: Element, secondChip: Element, key: Element, button: HTMLButtonElement, listed: Listed}} Row */

/** @type {Map<string, Row>} */
const rows = new Map();
let most = ROWS;

/** @param {Listed} listed @returns {Row} */
function makeRow(listed) {
  const id = listed.request_id;
  const age = h("td");
  const first = h("a", { href: `#call/${id}` });
  const second = h("span");
  const [firstChip, secondChip] = [h("span"), h("span")];
  const whose = h("td");
  const button = h("button", { class: "small", type: "button", click: async () => {
    button.disabled = true;
    try {
      await cancel(id);
    } catch {
      button.disabled = false;
    }
  } }, "Hang up");
  const row = h("tr", {}, age, h("td", {}, first, firstChip), h("td", {}, second, secondChip), whose, h("td", {}, button));
  return { row, age, first, firstChip, second, secondChip, key: whose, button, listed };
}

/** @param {Element} chip @param {string} word @param {string} look */
function putChip(chip, word, look) {
  put(chip, word);
  const name = `chip ${look}`;
  if (chip.className !== name) chip.className = name;
}

/** @param {Row} row @param {Listed} listed */
function fillRow(row, listed) {
  const { call } = listed;
  row.listed = listed;
  const over = call.state === "ended";
  put(row.first, call.dial_first.number ?? "?");
  put(row.second, call.dial_second.number ?? "?");
  const [first, second] = [legState(call, "first"), legState(call, "second")];
  putChip(row.firstChip, first, over ? "" : first);
  putChip(row.secondChip, over ? outcomeName(call.outcome ?? "") : second, over ? kind(call) : second);
  put(row.key, listed.key);
  row.row.classList.toggle("over", over);
  row.button.hidden = over;
  const name = `Hang up ${call.dial_first.number} and ${call.dial_second.number}`;
  if (row.button.getAttribute("aria-label") !== name) row.button.setAttribute("aria-label", name);
}

function drawTable() {
  const live = calls.live(LINGER);
  const shown = live.slice(0, most);
  const ids = new Set(shown.map((listed) => listed.request_id));
  for (const [id, { row }] of rows) {
    if (!ids.has(id)) {
      row.remove();
      rows.delete(id);
    }
  }
  const body = table.tBodies[0];
  let next = body.firstElementChild;
  for (const listed of shown) {
    let row = rows.get(listed.request_id);
    if (!row) {
      row = makeRow(listed);
      rows.set(listed.request_id, row);
      fillRow(row, listed);
    } else if (row.listed !== listed) fillRow(row, listed);
    if (row.row === next) next = next.nextElementSibling;
    else body.insertBefore(row.row, next);
  }
  drawAges();
  const left = live.length - shown.length;
  more.hidden = left === 0;
  if (left) put(more, `Show ${Math.min(left, ROWS)} more of ${live.length}`);
  nobody.hidden = live.length > 0;
  table.hidden = live.length === 0;
}

function drawAges() {
  const at = now();
  for (const { age, listed } of rows.values()) {
    if (listed.call.state !== "ended") put(age, clock(at - placedAt(listed)));
  }
}

function drawTiles() {
  const since = now() - 3600;
  let [open, hour, good] = [0, 0, 0];
  for (const { call, ...listed } of calls.all) {
    if (call.state !== "ended") open += 1;
    else if (Number(listed["utc.time"]) >= since) {
      hour += 1;
      if (call.outcome === "connected") good += 1;
    }
  }
  put(inProgress, String(open));
  put(lastHour, String(hour));
  put(talked, hour ? `${Math.round(good / hour * 100)} %` : "–");
  const middle = median(secondsToAnswer(calls.all, since));
  put(toAnswer, middle === null ? "–" : `${middle.toFixed(1)} s`);
}

function drawCharts() {
  const span = Number(new FormData(spans).get("span"));
  outcomeChart.show(calls.all, now(), span);
  answerChart.show(calls.all, now(), span);
  bounded.hidden = calls.size < LISTED;
  if (calls.size >= LISTED) put(bounded, `Counted over the latest ${calls.size} calls.`);
}

const spans = document.createElement("form");
spans.id = "spans";
spans.hidden = true;
document.body.append(spans);
for (const radio of document.querySelectorAll('input[name="span"]')) {
  radio.setAttribute("form", "spans");
  radio.addEventListener("change", drawCharts);
}

/** When each was drawn last. */
let [tableAt, chartsAt, waiting] = [-Infinity, -Infinity, 0];

/** Draw what is to be seen: the table at most four times a second, the charts every two seconds. */
function draw(all = false) {
  if (element("live", HTMLElement).hidden || !signedIn) return;
  const at = performance.now();
  if (!all && at - tableAt < 250) {
    waiting ||= window.setTimeout(() => {
      waiting = 0;
      draw();
    }, 250 - (at - tableAt));
    return;
  }
  tableAt = at;
  drawTable();
  drawTiles();
  if (all || at - chartsAt > 2000) {
    chartsAt = at;
    drawCharts();
  }
}

calls.addEventListener("change", () => draw());
calls.addEventListener("link", () => {
  link.hidden = !signedIn;
  put(link, calls.linked ? "live" : "connection lost, trying again");
  link.className = `chip ${calls.linked ? "good" : "bad"}`;
  if (signedIn && calls.linked) stay();
});
calls.addEventListener("heard", (event) => callView.changed(/** @type {CustomEvent<string>} */ (event).detail));
setInterval(() => {
  if (document.hidden) return;
  draw();
  drawAges();
}, 1000);
more.addEventListener("click", () => {
  most += ROWS;
  draw(true);
});

// Place a call

const placeForm = element("place", HTMLFormElement);
const placeError = element("place-error", HTMLElement);

placeForm.addEventListener("submit", async (event) => {
  event.preventDefault();
  const first = element("place-first", HTMLInputElement);
  const second = element("place-second", HTMLInputElement);
  const button = /** @type {HTMLButtonElement} */ (placeForm.querySelector("button"));
  if (button.disabled) return;
  button.disabled = true;
  placeError.textContent = "";
  try {
    await place({ dial_first: typed(first.value), dial_second: typed(second.value), request_id: newId() });
    second.value = "";
  } catch (error) {
    placeError.textContent = words(error);
  } finally {
    button.disabled = false;
  }
});

if (session.key) enter();
else showSignIn();
