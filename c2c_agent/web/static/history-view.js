// The history: calls that are looked for, and the same as CSV.

import { ask } from "./api.js";
import { LISTED } from "./calls.js";
import { element, h, moment, words } from "./dom.js";
import { csv, placedAt } from "./figures.js";
import { typed } from "./number.js";
import { clock, kind, outcomeName, outcomes, stateName } from "./words.js";

/** @typedef {import("./types.js").Listed} Listed */

const ROWS = 100;

/** The most calls that are put into one file. */
const SAVED = 100_000;

const filters = element("filters", HTMLFormElement);
const table = element("history-table", HTMLTableElement);
const error = element("history-error", HTMLElement);
const said = element("history-words", HTMLElement);
const more = element("more-history", HTMLButtonElement);

/** @param {string} id */
function valueOf(id) {
  return /** @type {HTMLInputElement | HTMLSelectElement} */ (document.getElementById(id)).value.trim();
}

/** Epoch seconds, or nothing. @param {string} id */
function timeOf(id) {
  const text = valueOf(id);
  return text ? String(new Date(text).getTime() / 1000) : "";
}

/** What is asked for. */
function wanted() {
  const asked = new URLSearchParams({ limit: String(ROWS) });
  const given = {
    number: typed(valueOf("f-number")),
    outcome: valueOf("f-outcome"),
    key: valueOf("f-key"),
    since: timeOf("f-since"),
    until: timeOf("f-until"),
  };
  for (const [name, value] of Object.entries(given)) if (value) asked.set(name, value);
  return asked;
}

/**
 * Calls that are asked for, and how the list goes on.
 * @param {URLSearchParams} asked
 * @returns {Promise<{calls: Listed[], next?: string}>}
 */
function list(asked) {
  return ask(`/calls?${asked}`);
}

export class HistoryView {
  #asked = new URLSearchParams();
  #next = "";

  constructor() {
    element("f-outcome", HTMLSelectElement).append(
      ...outcomes.map((outcome) => h("option", { value: outcome }, outcomeName(outcome))));
    filters.addEventListener("submit", (event) => {
      event.preventDefault();
      this.open();
    });
    const save = element("csv", HTMLButtonElement);
    save.addEventListener("click", async () => {
      save.disabled = true;
      await this.#save();
      save.disabled = false;
    });
    more.addEventListener("click", () => this.#load());
  }

  open() {
    this.#asked = wanted();
    this.#next = "";
    table.tBodies[0].replaceChildren();
    return this.#load();
  }

  async #load() {
    error.textContent = "";
    const asked = new URLSearchParams(this.#asked);
    if (this.#next) asked.set("cursor", this.#next);
    try {
      const { calls, next = "" } = await list(asked);
      if (asked.toString() !== this.#current()) return; // something else was asked for meanwhile
      this.#next = next;
      table.tBodies[0].append(...calls.map((listed) => this.#row(listed)));
      const count = table.tBodies[0].rows.length;
      said.textContent = `${count === 1 ? "1 call" : `${count} calls`}${next ? ", and more" : ""}.`;
      more.hidden = !next;
    } catch (wrong) {
      error.textContent = words(wrong);
    }
  }

  #current() {
    const asked = new URLSearchParams(this.#asked);
    if (this.#next) asked.set("cursor", this.#next);
    return asked.toString();
  }

  /** @param {Listed} listed */
  #row({ call, ...listed }) {
    const at = placedAt(/** @type {Listed} */ ({ ...listed, call }));
    const over = call.outcome !== null;
    return h("tr", {},
      h("td", {}, h("time", { datetime: new Date(at * 1000).toISOString() }, moment(at))),
      h("td", {}, h("a", { href: `#call/${listed.request_id}` }, call.dial_first.number ?? "?")),
      h("td", {}, call.dial_second.number ?? "?"),
      h("td", {}, h("span", { class: `chip ${over ? kind(call) : "live"}` },
        over ? outcomeName(call.outcome ?? "") : stateName(call.state))),
      h("td", {}, call.talk_seconds === null ? "" : clock(call.talk_seconds)),
      h("td", {}, listed.key));
  }

  /** All calls that are asked for, page by page. */
  async #save() {
    error.textContent = "";
    const asked = wanted();
    asked.set("limit", String(LISTED));
    /** @type {Listed[]} */
    const found = [];
    try {
      for (let next = ""; ;) {
        if (next) asked.set("cursor", next);
        const page = await list(asked);
        found.push(...page.calls);
        next = page.next ?? "";
        if (!next || found.length >= SAVED) break;
      }
    } catch (wrong) {
      error.textContent = words(wrong);
      return;
    }
    const url = URL.createObjectURL(new Blob([csv(found)], { type: "text/csv" }));
    h("a", { href: url, download: "calls.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }
}
