// The calls that the console knows: the latest of the list, kept up to date by the live events.

import { ask, follow } from "./api.js";
import { placedAt } from "./figures.js";

/** @typedef {import("./types.js").Listed} Listed */
/** @typedef {import("./types.js").CallEvent} CallEvent */

/** How many calls are kept; the oldest that have ended are let go. */
const MOST = 2000;

/** How many the list is asked for. */
export const LISTED = 1000;

/**
 * Dispatches `change` when calls have changed, `heard` with the id of a call of which something was
 * heard, `link` when the stream came or went, and `refused` when the key is not valid any more.
 */
export class Calls extends EventTarget {
  /** @type {Map<string, Listed>} */
  #all = new Map();
  /** When calls that ended were heard to end. @type {Map<string, number>} */
  #endedAt = new Map();
  #stop = new AbortController();
  #again = 0;
  linked = false;

  /** Load the list, and follow; rejects where the key may not. */
  async start() {
    this.#stop = new AbortController();
    const following = follow("/events", {
      signal: this.#stop.signal,
      heard: (event) => this.#heard(event),
      linked: (up) => {
        // What happened meanwhile is in the list alone.
        if (up && !this.linked) this.#load(LISTED).catch(() => {});
        this.linked = up;
        this.dispatchEvent(new Event("link"));
      },
    });
    await Promise.race([this.#load(LISTED), following.then(() => new Promise(() => {}))]);
    following.catch(() => this.dispatchEvent(new Event("refused")));
  }

  stop() {
    this.#stop.abort();
    clearTimeout(this.#again);
    this.#again = 0;
    this.#all.clear();
    this.#endedAt.clear();
  }

  /** The calls, in no order. */
  get all() {
    return this.#all.values();
  }

  get size() {
    return this.#all.size;
  }

  /** @param {string} id */
  get(id) {
    return this.#all.get(id);
  }

  /**
   * Calls in progress, and those that ended within these seconds; the newest first.
   * @param {number} seconds
   */
  live(seconds) {
    const since = performance.now() - seconds * 1000;
    const found = [];
    for (const listed of this.#all.values()) {
      if (listed.call.state !== "ended" || (this.#endedAt.get(listed.request_id) ?? -Infinity) > since) found.push(listed);
    }
    return found.sort((one, other) => placedAt(other) - placedAt(one));
  }

  /** @param {number} limit */
  async #load(limit) {
    /** @type {{calls: Listed[]}} */
    const { calls } = await ask(`/calls?limit=${limit}`, { signal: this.#stop.signal });
    for (const listed of calls) {
      const known = this.#all.get(listed.request_id);
      // An event may have come while the list was on its way.
      const older = known && known.call.timeline.length > listed.call.timeline.length;
      this.#all.set(listed.request_id, older ? { ...listed, call: known.call } : listed);
    }
    this.#trim();
    this.dispatchEvent(new Event("change"));
  }

  /** @param {CallEvent} event */
  #heard(event) {
    const known = this.#all.get(event.request_id);
    const begun = event.call.timeline[0]?.["utc.time"] ?? event["utc.time"];
    const listed = known ?? { request_id: event.request_id, "utc.time": begun, key: "", call: event.call };
    this.#all.set(event.request_id, { ...listed, call: event.call });
    if (event.call.state === "ended") this.#endedAt.set(event.request_id, performance.now());
    // An event does not say whose key it was; the list does.
    if (!known && !this.#again) {
      this.#again = window.setTimeout(() => {
        this.#again = 0;
        this.#load(100).catch(() => {});
      }, 2000);
    }
    this.#trim();
    this.dispatchEvent(new Event("change"));
    this.dispatchEvent(new CustomEvent("heard", { detail: event.request_id }));
  }

  #trim() {
    if (this.#all.size <= MOST) return;
    const ended = [...this.#all.values()].filter((listed) => listed.call.state === "ended");
    ended.sort((one, other) => placedAt(one) - placedAt(other));
    for (const listed of ended.slice(0, this.#all.size - MOST * 0.9)) {
      this.#all.delete(listed.request_id);
      this.#endedAt.delete(listed.request_id);
    }
  }
}
