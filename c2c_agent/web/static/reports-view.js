// Reports: what webhooks and the broker were not told yet, or will not be.

import { ask } from "./api.js";
import { LISTED } from "./calls.js";
import { element, h, moment, put, words } from "./dom.js";

/** @typedef {{id: string, target: string, type: string, request_id: string, "utc.time": string,
 *   state: "waiting" | "given_up", attempts: number, "utc.due": string | null,
 *   reason: string | null}} Report */

const table = element("reports-table", HTMLTableElement);
const error = element("reports-error", HTMLElement);
const said = element("reports-words", HTMLElement);
const more = element("more-reports", HTMLButtonElement);
const state = element("r-state", HTMLSelectElement);

const ROWS = 100;

/** Milliseconds between two looks: what waits is delivered or given up while one looks. */
const INTERVAL = 5000;

export class ReportsView {
  #timer = 0;
  #most = ROWS;
  /** How often was asked: an answer that another has overtaken is not shown. */
  #turn = 0;
  /** @type {Map<string, HTMLTableRowElement>} what a row shows, and the row */
  #rows = new Map();

  constructor() {
    state.addEventListener("change", () => this.open());
    more.addEventListener("click", () => {
      this.#most = Math.min(this.#most + ROWS, LISTED);
      this.#look();
    });
  }

  open() {
    this.close();
    this.#most = ROWS;
    said.textContent = "";
    this.#look();
    this.#timer = window.setInterval(() => this.#look(), INTERVAL);
  }

  close() {
    clearInterval(this.#timer);
    this.#turn += 1;
  }

  async #look() {
    this.#turn += 1;
    const turn = this.#turn;
    const asked = new URLSearchParams({ limit: String(this.#most) });
    if (state.value) asked.set("state", state.value);
    try {
      /** @type {{reports: Report[], next?: string}} */
      const { reports, next = "" } = await ask(`/reports?${asked}`);
      if (turn !== this.#turn) return;
      this.#draw(reports);
      more.hidden = !next || this.#most >= LISTED;
      error.textContent = "";
    } catch (wrong) {
      if (turn === this.#turn) error.textContent = words(wrong);
    }
  }

  /** A row that shows the same stays, and with it the focus. @param {Report[]} reports */
  #draw(reports) {
    const rows = new Map(reports.map((report) => {
      const shows = JSON.stringify(report);
      return [shows, this.#rows.get(shows) ?? this.#row(report)];
    }));
    for (const [shows, row] of this.#rows) if (!rows.has(shows)) row.remove();
    const body = table.tBodies[0];
    let following = body.firstElementChild;
    for (const row of rows.values()) {
      if (row === following) following = following.nextElementSibling;
      else body.insertBefore(row, following);
    }
    this.#rows = rows;
    table.hidden = rows.size === 0;
    const none = state.value ? "There is none." : "Everything was delivered.";
    put(said, rows.size === 0 ? none : "");
  }

  /** @param {Report} report */
  #row(report) {
    const lost = report.state === "given_up";
    const again = h("button", { class: "small", type: "button", "aria-label": `Send again: ${report.type} to ${report.target}`,
      click: () => this.#again(report, again) }, "Send again");
    const due = report["utc.due"];
    return h("tr", {},
      h("td", {}, moment(Number(report["utc.time"]))),
      h("td", {}, h("a", { href: `#call/${report.request_id}` }, report.type)),
      h("td", {}, report.target),
      h("td", {}, h("span", { class: `chip ${lost ? "bad" : "missed"}` }, lost ? "given up" : "waiting"),
        due === null ? "" : ` next try ${moment(Number(due))}`),
      h("td", { class: "attempts" }, String(report.attempts)),
      h("td", { class: "reason" }, report.reason ?? ""),
      h("td", {}, lost ? again : ""));
  }

  /** @param {Report} report @param {HTMLButtonElement} button */
  async #again(report, button) {
    button.disabled = true;
    try {
      await ask("/replay", { method: "POST", body: { target: report.target, request_id: report.request_id } });
    } catch (wrong) {
      error.textContent = words(wrong);
      button.disabled = false;
      return;
    }
    await this.#look();
  }
}
