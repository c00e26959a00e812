// One call: its ladder, the evidence in words, the timeline, and the JSON.

import { cancel, status } from "./api.js";
import { h, moment, s, words } from "./dom.js";
import { LINES, ladder } from "./ladder.js";
import { entryName, evidence, legState, outcomeName, sentence, stateName } from "./words.js";

/** @typedef {import("./types.js").Status} Status */
/** @typedef {import("./ladder.js").Rung} Rung */

const [TOP, STEP] = [44, 40];

/** Where the lines of the ladder stand: the first, the distance, what is right of the last. */
const WIDE = { left: 150, gap: 150, right: 76, numbers: Infinity };
/** On a telephone's screen; numbers with more characters would lie over each other there. */
const NARROW = { left: 64, gap: 51, right: 26, numbers: 7 };

/** @param {Rung[]} rungs @param {Status} known */
function picture(rungs, known) {
  const narrow = window.matchMedia("(max-width: 40rem)").matches;
  const { left, gap, right, numbers: longest } = narrow ? NARROW : WIDE;
  const x = (/** @type {number} */ line) => left + line * gap;
  const height = TOP + rungs.length * STEP + 12;
  const width = x(LINES.length - 1) + right;
  const legs = [known.call.dial_first.number ?? "", known.call.dial_second.number ?? ""];
  const numbers = legs.some((number) => number.length > longest) ? [] : ["", "", "", ...legs];
  const begin = rungs[0].at;
  return s("svg", {
    class: narrow ? "ladder narrow" : "ladder", viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": "The ladder of the call. The timeline below says the same.",
  },
  s("defs", {}, s("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7.5, refY: 4, markerWidth: 8, markerHeight: 8, orient: "auto-start-reverse" },
    s("path", { d: "M0 0 8 4 0 8z" }))),
  ...LINES.flatMap((name, line) => [
    s("text", { class: "who", x: x(line), y: 16, "text-anchor": "middle" }, name),
    numbers[line] ? s("text", { class: "soft", x: x(line), y: 31, "text-anchor": "middle" }, numbers[line]) : s("g"),
    s("line", { class: "life", x1: x(line), x2: x(line), y1: TOP - 6, y2: height }),
  ]),
  ...rungs.flatMap((rung, index) => rungElements(rung, TOP + 22 + index * STEP, x, rung.at - begin)));
}

/** @param {Rung} rung @param {number} y @param {(line: number) => number} x @param {number} after */
function rungElements(rung, y, x, after) {
  const [from, to] = [x(rung.from), x(rung.to)];
  const middle = rung.from === rung.to ? from + 8 : (from + to) / 2;
  const toward = Math.sign(to - from);
  return [
    s("text", { class: "soft figures", x: 0, y: y + 4 }, `+${after.toFixed(3)} s`),
    rung.from === rung.to
      ? s("circle", { class: "dot", cx: from, cy: y, r: 3.5 })
      : s("line", { class: "rung", x1: from, x2: to - toward * 2, y1: y, y2: y, "marker-end": "url(#arrow)" }),
    s("text", { x: middle, y: rung.from === rung.to ? y + 4 : y - 5, "text-anchor": rung.from === rung.to ? "start" : "middle" },
      s("title", {}, [rung.label, rung.detail].filter(Boolean).join(": ")), rung.label),
  ];
}

/** Shows one call after the other in a place of the page. */
export class CallView {
  #place;
  #id = "";
  #asking = false;
  #stale = false;

  /** @param {HTMLElement} place */
  constructor(place) {
    this.#place = place;
  }

  /** @param {string} id */
  async open(id) {
    if (this.#id !== id) this.#place.replaceChildren();
    this.#id = id;
    await this.#show(true);
  }

  close() {
    this.#id = "";
  }

  /** The call has changed; one that is not shown is no matter. @param {string} id */
  changed(id) {
    if (id === this.#id) this.#show(false);
  }

  /** @param {boolean} focus */
  async #show(focus) {
    this.#stale = true;
    if (this.#asking) return;
    this.#asking = true;
    try {
      while (this.#stale && this.#id) {
        this.#stale = false;
        const id = this.#id;
        const known = await status(id);
        if (id === this.#id) this.#build(id, known, focus);
      }
    } catch (error) {
      this.#place.replaceChildren(h("p", { class: "error" }, words(error)));
    } finally {
      this.#asking = false;
    }
  }

  /** @param {string} id @param {Status} known @param {boolean} focus */
  #build(id, known, focus) {
    const { call } = known;
    const over = call.state === "ended";
    const open = this.#place.querySelector("details")?.open ?? false;
    const title = h("h2", { tabindex: -1 }, `${call.dial_first.number ?? "?"} → ${call.dial_second.number ?? "?"}`);
    const error = h("p", { class: "error", role: "alert" });
    const message = over ? String(known.response?.response_data?.Message ?? "") : "";
    const hangUp = h("button", { class: "stop small", type: "button", click: async () => {
      hangUp.disabled = true;
      try {
        await cancel(id);
      } catch (wrong) {
        error.textContent = words(wrong);
        hangUp.disabled = false;
      }
    } }, "Hang up");
    hangUp.hidden = over;
    this.#place.replaceChildren(
      h("div", { class: "title" }, title, h("span", { class: `chip ${over ? "" : "live"}` },
        over ? outcomeName(call.outcome ?? "") : stateName(call.state)), hangUp),
      h("p", { class: "lead" }, sentence(call, call.outcome === "pbx_error" ? message : "")), error,
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Ladder" }, picture(ladder(known), known)),
      h("div", { class: "two" }, ...(/** @type {const} */ (["first", "second"])).map((which) => {
        const leg = which === "first" ? call.dial_first : call.dial_second;
        return h("section", { class: "panel" },
          h("h3", {}, which === "first" ? "First leg" : "Second leg", " ", h("span", { class: "chip" }, legState(call, which))),
          h("ul", { class: "said" }, ...evidence(leg).map((said) => h("li", {}, said))));
      })),
      h("section", { class: "panel" }, h("h3", {}, "Timeline"),
        h("ol", { class: "timeline" }, ...call.timeline.map((entry) => h("li", {},
          h("time", { class: "figures", datetime: new Date(Number(entry["utc.time"]) * 1000).toISOString() },
            `${moment(Number(entry["utc.time"]))} +${(Number(entry["utc.time"]) - Number(call.timeline[0]["utc.time"])).toFixed(3)} s`),
          h("span", {}, entryName(entry.event)), entry.detail ? h("span", { class: "hint" }, entry.detail) : "")))),
      h("details", { class: "panel", open }, h("summary", {}, "JSON"),
        h("pre", { tabindex: 0, role: "region", "aria-label": "JSON of the status" }, JSON.stringify(known, null, 2))));
    if (focus) title.focus();
  }
}
