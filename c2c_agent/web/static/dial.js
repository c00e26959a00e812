// The dial page: sign in, a number, Call; then the call, live.

import { ApiError, ask, cancel, follow, newId, place, session, status } from "./api.js";
import { CallCard } from "./call-card.js";
import { linked, typed } from "./number.js";
import { Repeats } from "./repeats.js";
import { boundTo } from "./token.js";

/** @typedef {import("./types.js").Call} Call */

/** @template {HTMLElement} T @param {string} id @param {new () => T} kind @returns {T} */
function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(id);
  return found;
}

const signIn = element("sign-in", HTMLFormElement);
const key = element("key", HTMLInputElement);
const signInError = element("sign-in-error", HTMLElement);
const signOut = element("sign-out", HTMLButtonElement);
const dial = element("dial", HTMLFormElement);
const first = element("first", HTMLInputElement);
const second = element("second", HTMLInputElement);
const dialError = element("dial-error", HTMLElement);
const call = element("call", HTMLButtonElement);
const callWords = element("call-words", HTMLElement);
const card = element("card", CallCard);
const links = element("links", HTMLElement);
const linksWords = element("links-words", HTMLElement);
const register = element("register", HTMLButtonElement);

const MY_PHONE = "c2c-my-phone";

/** The call that the page shows. @type {{id: string, stop: AbortController} | null} */
let current = null;

const repeats = new Repeats();

/** @param {"sign-in" | "dial" | "call"} what */
function show(what) {
  signIn.hidden = what !== "sign-in";
  dial.hidden = what !== "dial";
  card.hidden = what !== "call";
  signOut.hidden = what === "sign-in";
  links.hidden = what !== "dial";
}

function showSignIn(message = "") {
  session.key = "";
  repeats.forget();
  key.value = "";
  signInError.textContent = message;
  show("sign-in");
  key.focus();
}

function showDial() {
  const bound = boundTo(session.key);
  first.value = bound || localStorage.getItem(MY_PHONE) || "";
  first.readOnly = bound !== "";
  show("dial");
  (second.value && (first.value || bound) ? call : second).focus();
  nameCall();
}

/** The button says whom it calls. */
function nameCall() {
  const number = typed(second.value);
  callWords.textContent = number ? `Call ${number}` : "Call";
}

signIn.addEventListener("submit", async (event) => {
  event.preventDefault();
  signInError.textContent = "";
  session.key = key.value.trim();
  try {
    await ask("/calls?limit=0");
  } catch (error) {
    const known = error instanceof ApiError && error.code === "not_allowed"; // a token
    if (!known) {
      showSignIn(error instanceof Error ? error.message : String(error));
      return;
    }
  }
  key.value = "";
  showDial();
});

signOut.addEventListener("click", () => {
  current?.stop.abort();
  current = null;
  showSignIn();
});

second.addEventListener("input", nameCall);

dial.addEventListener("submit", async (event) => {
  event.preventDefault();
  const number = typed(second.value);
  if (current || !number) return;
  dialError.textContent = "";
  const mine = typed(first.value);
  if (!boundTo(session.key)) localStorage.setItem(MY_PHONE, mine);
  const asked = performance.now() / 1000;
  // Under the id of a call that was asked for before, the agent gives that call's answer.
  const again = repeats.find(mine, number, asked);
  const id = again || newId();
  current = { id, stop: new AbortController() };
  call.disabled = true;
  try {
    const answer = await place({ dial_first: mine, dial_second: number, request_id: id });
    if (!again) repeats.note(mine, number, id, asked);
    await live(answer.response.request_id);
  } catch (error) {
    current = null;
    if (error instanceof ApiError && error.code === "unauthorized") showSignIn(error.message);
    else {
      show("dial");
      dialError.textContent = error instanceof Error ? error.message : String(error);
      second.focus();
    }
  } finally {
    call.disabled = false;
  }
});

/** Show a call to its end. @param {string} id */
async function live(id) {
  const stop = current?.stop ?? new AbortController();
  current = { id, stop };
  const { call: begun } = await status(id);
  show("call");
  card.show(begun);
  card.focusHangUp();
  let last = begun;
  await follow(`/events/${id}`, {
    signal: stop.signal,
    heard: ({ call: changed }) => card.show((last = changed)),
    linked: (up) => (card.linked = up),
  });
  if (stop.signal.aborted) return;
  if (last.state !== "ended") card.show((await status(id)).call);
  current = null;
}

card.addEventListener("hangup", async () => {
  if (!current) return;
  try {
    await cancel(current.id);
  } catch {
    card.notHungUp();
  }
});

card.addEventListener("again", () => {
  second.value = "";
  showDial();
});

// Links

/** A link that the browser opens here only fills the form: who opened it is asked before it rings. */
function takeLink() {
  const given = new URL(location.href).searchParams.get("number");
  if (given === null) return;
  second.value = linked(given) ?? typed(given);
  history.replaceState(null, "", location.pathname); // a number is nobody's business in the history
}

if (!window.isSecureContext || !navigator.registerProtocolHandler) {
  register.hidden = true;
  linksWords.textContent = "To open telephone links here, browsers want this page over HTTPS.";
} else {
  linksWords.textContent = "A click on a telephone link can open this page. You are asked before anything rings.";
}

register.addEventListener("click", () => {
  navigator.registerProtocolHandler("tel", `${location.origin}${location.pathname}?number=%s`);
  linksWords.textContent = "Now say yes to the question of the browser.";
});

takeLink();
if (session.key) showDial();
else showSignIn();
