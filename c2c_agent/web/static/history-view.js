// The history: calls that are looked for, and the same as CSV.

import { ask } from "./api.js";
import { LISTED } from "./calls.js";
import { element, h, moment, words } from "./dom.js";
import { csv, matches, placedAt } from "./figures.js";
import { clock, kind, outcomeName, outcomes, stateName } from "./words.js";

/** @typedef {import("./types.js").Listed} Listed */
/** @typedef {import("./figures.js").Filter} Filter */

const ROWS = 100;

const filters = element("filters", HTMLFormElement);
const table = element("history-table", HTMLTableElement);
const error = element("history-error", HTMLElement);
const said = element("history-words", HTMLElement);
const more = element("more-history", HTMLButtonElement);

/** @param {string} id */
function valueOf(id) {
  return /** @type {HTMLInputElement | HTMLSelectElement} */ (document.getElementById(id)).value.trim();
}

/** @param {string} id @returns {number | undefined} */
function timeOf(id) {
  const text = valueOf(id);
  return text ? new Date(text).getTime() / 1000 : undefined;
}

/** @returns {Filter} */
function wanted() {
  return {
    number: valueOf("f-number"),
    outcome: valueOf("f-outcome"),
    key: valueOf("f-key"),
    since: timeOf("f-since"),
    until: timeOf("f-until"),
  };
}

export class HistoryView {
  /** @type {Listed[]} */
  #found = [];
  #shown = 0;

  constructor() {
    element("f-outcome", HTMLSelectElement).append(
      ...outcomes.map((outcome) => h("option", { value: outcome }, outcomeName(outcome))));
    filters.addEventListener("submit", (event) => {
      event.preventDefault();
      this.open();
    });
    element("csv", HTMLButtonElement).addEventListener("click", () => this.#save());
    more.addEventListener("click", () => this.#showMore());
  }

  async open() {
    error.textContent = "";
    const filter = wanted();
    try {
      /** @type {{calls: Listed[]}} */
      const { calls } = await ask(`/calls?limit=${LISTED}`);
      this.#found = calls.filter((listed) => matches(listed, filter));
      this.#shown = 0;
      table.tBodies[0].replaceChildren();
      this.#showMore();
      const count = this.#found.length === 1 ? "1 call" : `${this.#found.length} calls`;
      said.textContent = calls.length < LISTED ? `${count}.` : `${count} of the latest ${LISTED}.`;
    } catch (wrong) {
      error.textContent = words(wrong);
    }
  }

  #showMore() {
    const rows = this.#found.slice(this.#shown, this.#shown + ROWS);
    this.#shown += rows.length;
    table.tBodies[0].append(...rows.map((listed) => this.#row(listed)));
    more.hidden = this.#shown >= this.#found.length;
  }

  /** @param {Listed} listed */
  #row({ call, ...listed }) {
    const at = placedAt(/** @type {Listed} */ ({ ...listed, call }));
    const over = call.outcome !== null;
    return h("tr", {},
      h("td", {}, h("time", { datetime: new Date(at * 1000).toISOString() }, moment(at))),
      h("td", {}, h("a", { href: `#call/${listed.request_id}` }, call.dial_first.number ?? "?")),
      h("td", {}, call.dial_second.number ?? "?"),
      h("td", {}, h("span", { class: `chip ${over ? kind(call.outcome ?? "") : "live"}` },
        over ? outcomeName(call.outcome ?? "") : stateName(call.state))),
      h("td", {}, call.talk_seconds === null ? "" : clock(call.talk_seconds)),
      h("td", {}, listed.key));
  }

  #save() {
    const url = URL.createObjectURL(new Blob([csv(this.#found)], { type: "text/csv" }));
    h("a", { href: url, download: "calls.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }
}
