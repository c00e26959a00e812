// Figures of many calls: charts, CSV. Pure.

import { kind } from "./words.js";

/** @typedef {import("./types.js").Listed} Listed */

/** @typedef {{begin: number, good: number, missed: number, untold: number, bad: number}} Column */

/** When a call was asked for, in epoch seconds. @param {Listed} listed */
export function placedAt(listed) {
  return Number(listed["utc.time"]);
}

/**
 * How many calls ended in which way, in each part of a span of time.
 * @param {Iterable<Listed>} calls
 * @param {number} until epoch seconds
 * @param {number} span seconds
 * @param {number} parts
 * @returns {Column[]} the oldest first
 */
export function columns(calls, until, span, parts) {
  const width = span / parts;
  const begin = until - span;
  const all = Array.from({ length: parts }, (_, index) => (
    { begin: begin + index * width, good: 0, missed: 0, untold: 0, bad: 0 }));
  for (const listed of calls) {
    const at = placedAt(listed) - begin;
    if (listed.call.outcome === null || at < 0 || at > span) continue;
    all[Math.min(parts - 1, Math.floor(at / width))][kind(listed.call)] += 1;
  }
  return all;
}

/**
 * Seconds from the request to the answer of the second, the smallest first.
 * @param {Iterable<Listed>} calls
 * @param {number} since epoch seconds
 */
export function secondsToAnswer(calls, since) {
  /** @type {number[]} */
  const seconds = [];
  for (const listed of calls) {
    const answered = listed.call.timeline.find((entry) => entry.event === "connected");
    if (answered === undefined || placedAt(listed) < since) continue;
    seconds.push(Math.max(0, Number(answered["utc.time"]) - placedAt(listed)));
  }
  return seconds.sort((one, other) => one - other);
}

/** The upper ends of the bars of a histogram, in seconds; the last bar has what is above. */
export const STEPS = [5, 10, 15, 20, 30, 45, 60];

/**
 * How many of some seconds lie in each step, and above the last.
 * @param {number[]} seconds
 */
export function histogram(seconds) {
  const bars = Array.from({ length: STEPS.length + 1 }, () => 0);
  for (const one of seconds) {
    const step = STEPS.findIndex((end) => one < end);
    bars[step < 0 ? STEPS.length : step] += 1;
  }
  return bars;
}

/**
 * What lies in the middle of sorted numbers; null where there are none.
 * @param {number[]} sorted
 */
export function median(sorted) {
  if (!sorted.length) return null;
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const HEADINGS = ["time", "request_id", "key", "first", "second", "state", "outcome",
  "talk_seconds", "first_ring_seconds", "second_ring_seconds", "cause"];

/**
 * Calls as CSV (RFC 4180).
 * @param {Iterable<Listed>} calls
 */
export function csv(calls) {
  const lines = [HEADINGS.join(",")];
  for (const listed of calls) {
    const { call } = listed;
    lines.push([
      new Date(placedAt(listed) * 1000).toISOString(),
      listed.request_id,
      listed.key,
      call.dial_first.number,
      call.dial_second.number,
      call.state,
      call.outcome,
      call.talk_seconds,
      call.dial_first.ring_seconds,
      call.dial_second.ring_seconds,
      call.cause,
    ].map(field).join(","));
  }
  return lines.join("\r\n") + "\r\n";
}

/**
 * A field of CSV. A text that a spreadsheet would take for a formula gets a quote before it; a
 * number with a plus is none.
 * @param {string | number | null} value
 */
function field(value) {
  let text = value === null ? "" : String(value);
  if (/^[=@\t\r-]/.test(text) || /^\+(?![0-9]+$)/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
