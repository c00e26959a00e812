// The API of the agent that these pages are from.

import { EventReader } from "./sse.js";

/** @typedef {import("./types.js").CallEvent} CallEvent */
/** @typedef {import("./types.js").Listed} Listed */
/** @typedef {import("./types.js").Status} Status */

/** Where the agent is; also below a prefix that a proxy has put before it. */
const BASE = new URL("..", import.meta.url);

const KEPT = "c2c-key";

/** What went wrong, in the agent's words; `code` is for programs. */
export class ApiError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** The key or token of this tab; it is forgotten when the tab is closed. */
export const session = {
  get key() {
    return sessionStorage.getItem(KEPT) ?? "";
  },
  set key(value) {
    if (value) sessionStorage.setItem(KEPT, value);
    else sessionStorage.removeItem(KEPT);
  },
};

/** By how many seconds the agent's clock is ahead of the browser's. */
let ahead = 0;

/** The time at the agent, in epoch seconds. */
export function now() {
  return Date.now() / 1000 + ahead;
}

/** @param {Response} response */
function setClock(response) {
  const date = Date.parse(response.headers.get("date") ?? "");
  // The header has whole seconds: what differs by less is none of the clocks' fault.
  if (!Number.isNaN(date)) {
    const differs = date / 1000 + 0.5 - Date.now() / 1000;
    ahead = Math.abs(differs) > 2 ? differs : 0;
  }
}

/**
 * Ask the agent. Throws ApiError with what it says was wrong.
 * @param {string} path below /c2c/v2, or one such as "readyz" with `outside`
 * @param {{method?: string, body?: Record<string, unknown>, signal?: AbortSignal, outside?: boolean}} [how]
 * @returns {Promise<any>}
 */
export async function ask(path, how = {}) {
  const response = await send(path, how);
  setClock(response);
  let answer;
  try {
    answer = await response.json();
  } catch {
    throw new ApiError("unreachable", `The agent answered with the status ${response.status}.`);
  }
  const errors = answer.response?.errors ?? answer.errors ?? [];
  if (errors.length) {
    const [{ error }] = errors;
    const words = errors.map((/** @type {{error: {message: string}}} */ one) => one.error.message);
    throw Object.assign(new ApiError(error.code, words.join(" ")), { answer });
  }
  return answer;
}

/**
 * @param {string} path
 * @param {{method?: string, body?: Record<string, unknown>, signal?: AbortSignal, outside?: boolean,
 *   headers?: Record<string, string>}} how
 */
async function send(path, { method = "GET", body, signal, outside = false, headers = {} }) {
  /** @type {Record<string, string>} */
  const all = { ...headers };
  if (session.key) all.Authorization = `Bearer ${session.key}`;
  if (body !== undefined) all["Content-Type"] = "application/json";
  try {
    return await fetch(new URL(outside ? path : `c2c/v2${path}`, BASE), {
      method,
      headers: all,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("unreachable", "The agent cannot be reached.");
  }
}

/** An id for a request, so that asking again places no second call. */
export function newId() {
  // crypto.randomUUID is for HTTPS and localhost alone.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/**
 * Place a call. Where the answer is lost on its way, it is asked for again under the same id: the
 * agent dials nobody twice.
 * @param {{dial_first?: string, dial_second: string, request_id: string}} call
 */
export async function place(call) {
  const body = Object.fromEntries(Object.entries(call).filter(([, value]) => value !== ""));
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await ask("", { method: "POST", body });
    } catch (error) {
      if (attempt === 3 || !(error instanceof ApiError) || error.code !== "unreachable") throw error;
      await pause(500 * 2 ** attempt);
    }
  }
}

/** @param {string} id */
export function cancel(id) {
  return ask(`/cancel/${encodeURIComponent(id)}`, { method: "POST", body: {} });
}

/** @param {string} id @returns {Promise<Status>} */
export async function status(id) {
  return (await ask(`/status/${encodeURIComponent(id)}`)).c2c_status;
}

/**
 * Follow events, over every break of the connection, until `signal` says enough, or the stream of
 * one call is over.
 * @param {string} path "/events", or "/events/<id>"
 * @param {{signal: AbortSignal, heard: (event: CallEvent) => void,
 *   linked?: (up: boolean) => void}} how `linked`: whether the connection is there
 */
export async function follow(path, { signal, heard, linked = () => {} }) {
  let last = "";
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    try {
      /** @type {Record<string, string>} */
      const headers = {};
      if (last) headers["Last-Event-ID"] = last;
      const response = await send(path, { signal, headers });
      setClock(response);
      if (!response.headers.get("content-type")?.startsWith("text/event-stream")) {
        const answer = await response.json();
        const [refused] = answer.response?.errors ?? answer.errors ?? [];
        if (refused && ["unauthorized", "not_found"].includes(refused.error.code)) {
          throw new ApiError(refused.error.code, refused.error.message);
        }
        if (!refused) return; // the status, for who has seen the end
      } else {
        linked(true);
        attempt = 0;
        const reader = new EventReader();
        for await (const text of pieces(response)) {
          for (const message of reader.read(text)) {
            last = message.id;
            /** @type {CallEvent} */
            const event = JSON.parse(message.data);
            heard(event);
            if (path !== "/events" && ["call.ended", "call.rejected"].includes(event.type)) return;
          }
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.code !== "unreachable") throw error;
    }
    linked(false);
    await pause(Math.min(10_000, 500 * 2 ** Math.min(attempt, 5)), signal);
  }
}

/** @param {Response} response */
async function* pieces(response) {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** @param {number} milliseconds @param {AbortSignal} [signal] @returns {Promise<void>} */
function pause(milliseconds, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      done();
    }, { once: true });
  });
}
