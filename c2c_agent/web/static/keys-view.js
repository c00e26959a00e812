// Keys, and what each uses of its limits.

import { ask } from "./api.js";
import { element, h, words } from "./dom.js";

/** @typedef {{name: string, console: boolean,
 *   limits: {max_concurrent: number | null, per_minute: number | null, per_day: number | null,
 *     minutes_per_day: number | null, max_duration: number | null},
 *   use: {concurrent: number, minute: number, day: number, minutes_day: number} | null}} KeyUse */

const table = element("keys-table", HTMLTableElement);
const error = element("keys-error", HTMLElement);

/** Milliseconds between two looks. */
const INTERVAL = 5000;

/** @param {number | undefined} used @param {number | null} limit @param {string} name */
function cell(used, limit, name) {
  if (used === undefined) return h("td", {}, limit === null ? "–" : `limit ${limit}`);
  if (limit === null) return h("td", {}, String(used));
  const share = used / limit;
  const look = share >= 1 ? "bad" : share >= .8 ? "missed" : "good";
  return h("td", {}, h("span", {}, `${used} of ${limit}`),
    h("progress", { class: look, max: limit, value: Math.min(used, limit), "aria-label": name }));
}

export class KeysView {
  #timer = 0;

  open() {
    this.close();
    this.#look();
    this.#timer = window.setInterval(() => this.#look(), INTERVAL);
  }

  close() {
    clearInterval(this.#timer);
  }

  async #look() {
    try {
      /** @type {{keys: KeyUse[]}} */
      const { keys } = await ask("/keys");
      table.tBodies[0].replaceChildren(...keys.map(({ name, console: opens, limits, use }) => h("tr", {},
        h("th", { scope: "row" }, name, opens && h("span", { class: "chip" }, "console")),
        cell(use?.concurrent, limits.max_concurrent, `${name}: calls at once`),
        cell(use?.minute, limits.per_minute, `${name}: calls in this minute`),
        cell(use?.day, limits.per_day, `${name}: calls in 24 hours`),
        cell(use?.minutes_day, limits.minutes_per_day, `${name}: minutes in 24 hours`))));
      error.textContent = "";
    } catch (wrong) {
      error.textContent = words(wrong);
    }
  }
}
