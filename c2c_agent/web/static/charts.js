// Charts as SVG: what they show stands in their label, too, for who does not see them.

import { h, put, s } from "./dom.js";
import { STEPS, columns, histogram, median, secondsToAnswer } from "./figures.js";

/** @typedef {import("./types.js").Listed} Listed */

const WIDTH = 480;
const HEIGHT = 144;
const KINDS = /** @type {const} */ ([["good", "talked"], ["missed", "not answered"],
  ["untold", "not told by the PBX"], ["bad", "failed"]]);

/** @param {string} title @param {string} [look] of the axis */
function frame(title, look = "") {
  const picture = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", class: "chart" });
  const axis = h("div", { class: `axis ${look}`, "aria-hidden": "true" });
  const legend = h("ul", { class: "legend" });
  const summary = h("p", { class: "hint" });
  const figure = h("section", { class: "panel" }, h("h3", {}, title), picture, axis, legend, summary);
  return { figure, picture, axis, legend, summary };
}

/** @param {string} look @param {number} x @param {number} width @param {number} bottom @param {number} height */
function bar(look, x, width, bottom, height) {
  return s("rect", { class: look, x, y: bottom - height, width, height });
}

/** Outcomes over time. */
export class OutcomeChart {
  #parts = frame("Outcomes");
  figure = this.#parts.figure;

  /** @param {Iterable<Listed>} calls @param {number} now @param {number} span seconds */
  show(calls, now, span) {
    const all = columns(calls, now, span, 30);
    const most = Math.max(4, ...all.map((one) => KINDS.reduce((sum, [name]) => sum + one[name], 0)));
    const { picture, axis, legend, summary } = this.#parts;
    const width = WIDTH / all.length;
    picture.replaceChildren(...all.flatMap((column, index) => {
      let bottom = HEIGHT;
      return KINDS.flatMap(([name]) => {
        const height = column[name] / most * (HEIGHT - 4);
        bottom -= height;
        return height ? [bar(name, index * width + 1.5, width - 3, bottom + height, height)] : [];
      });
    }));
    const word = span <= 3600 ? "hour" : "day";
    axis.replaceChildren(h("span", {}, `1 ${word} ago`), h("span", {}, "now"));
    // Most PBXs tell of every end: only where one does not is that worth a word.
    const sums = KINDS.map(([name, what]) => /** @type {const} */ (
      [name, what, all.reduce((sum, one) => sum + one[name], 0)]))
      .filter(([name, , sum]) => name !== "untold" || sum);
    legend.replaceChildren(...sums.map(([name, what, sum]) => (
      h("li", { class: name }, h("span", { class: "figures" }, String(sum)), ` ${what}`))));
    picture.setAttribute("aria-label", `Outcomes in the last ${word}: `
      + sums.map(([, what, sum]) => `${sum} ${what}`).join(", "));
    put(summary, sums.some(([, , sum]) => sum) ? "" : "No call ended in this time.");
  }
}

/** How long it takes until they talk. */
export class AnswerChart {
  #parts = frame("Seconds to answer", "steps");
  figure = this.#parts.figure;

  /** @param {Iterable<Listed>} calls @param {number} now @param {number} span seconds */
  show(calls, now, span) {
    const seconds = secondsToAnswer(calls, now - span);
    const bars = histogram(seconds);
    const most = Math.max(4, ...bars);
    const width = WIDTH / bars.length;
    const { picture, axis, summary } = this.#parts;
    picture.replaceChildren(...bars.map((count, index) => (
      bar("good", index * width + 4, width - 8, HEIGHT, count / most * (HEIGHT - 4)))));
    axis.replaceChildren(...bars.map((_, index) => (
      h("span", {}, index < STEPS.length ? `< ${STEPS[index]}` : "more"))));
    const middle = median(seconds);
    const words = middle === null ? "Nobody has talked in this time."
      : `Half of ${seconds.length} within ${middle.toFixed(1)} seconds, from the request to the second's answer.`;
    picture.setAttribute("aria-label", `Seconds to answer. ${words}`);
    put(summary, words);
  }
}
