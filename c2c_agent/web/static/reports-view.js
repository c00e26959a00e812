// Reports: what webhooks and the broker were not told yet, or will not be.

import { ask } from "./api.js";
import { element, h, moment, words } from "./dom.js";

/** @typedef {{id: string, target: string, type: string, request_id: string, "utc.time": string,
 *   state: "waiting" | "given_up", attempts: number, "utc.due": string | null,
 *   reason: string | null}} Report */

const table = element("reports-table", HTMLTableElement);
const error = element("reports-error", HTMLElement);
const said = element("reports-words", HTMLElement);
const more = element("more-reports", HTMLButtonElement);
const state = element("r-state", HTMLSelectElement);

const ROWS = 100;

export class ReportsView {
  #next = "";

  constructor() {
    state.addEventListener("change", () => this.open());
    more.addEventListener("click", () => this.#load());
  }

  open() {
    this.#next = "";
    table.tBodies[0].replaceChildren();
    return this.#load();
  }

  async #load() {
    error.textContent = "";
    const asked = new URLSearchParams({ limit: String(ROWS) });
    if (state.value) asked.set("state", state.value);
    if (this.#next) asked.set("cursor", this.#next);
    try {
      /** @type {{reports: Report[], next?: string}} */
      const { reports, next = "" } = await ask(`/reports?${asked}`);
      this.#next = next;
      table.tBodies[0].append(...reports.map((report) => this.#row(report)));
      more.hidden = !next;
      const count = table.tBodies[0].rows.length;
      said.textContent = count ? "" : "Everything was delivered.";
      table.hidden = !count;
    } catch (wrong) {
      error.textContent = words(wrong);
    }
  }

  /** @param {Report} report */
  #row(report) {
    const lost = report.state === "given_up";
    const again = h("button", { class: "small", type: "button", "aria-label": `Send ${report.type} to ${report.target} again`,
      click: () => this.#again(report, again) }, "Send again");
    const due = report["utc.due"];
    return h("tr", {},
      h("td", {}, moment(Number(report["utc.time"]))),
      h("td", {}, h("a", { href: `#call/${report.request_id}` }, report.type)),
      h("td", {}, report.target),
      h("td", {}, h("span", { class: `chip ${lost ? "bad" : "missed"}` }, lost ? "given up" : "waiting"),
        due === null ? "" : ` next try ${moment(Number(due))}`),
      h("td", {}, String(report.attempts)),
      h("td", { class: "reason" }, report.reason ?? ""),
      h("td", {}, lost ? again : ""));
  }

  /** @param {Report} report @param {HTMLButtonElement} button */
  async #again(report, button) {
    button.disabled = true;
    try {
      await ask("/replay", { method: "POST", body: { target: report.target, request_id: report.request_id } });
      await this.open();
    } catch (wrong) {
      error.textContent = words(wrong);
      button.disabled = false;
    }
  }
}
