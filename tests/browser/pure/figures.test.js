import assert from "node:assert/strict";
import { test } from "node:test";
import { STEPS, columns, csv, histogram, median, secondsToAnswer } from "../../../c2c_agent/web/static/figures.js";
import { entries, leg, listed } from "./calls.js";

test("columns of outcomes", () => {
  const calls = [listed(1000), listed(1099, { outcome: "second_busy" }), listed(1100, { outcome: "unknown" }),
    listed(1050, { outcome: null, state: "connected" }), listed(1060, { outcome: "unknown", reason: "not_told_by_pbx" }),
    listed(999), listed(1101)];
  assert.deepEqual(columns(calls, 1100, 100, 2), [
    { begin: 1000, good: 1, missed: 0, untold: 0, bad: 0 },
    { begin: 1050, good: 0, missed: 1, untold: 1, bad: 1 },
  ]);
});

test("seconds to answer", () => {
  const answered = (at, seconds) => listed(at, { timeline: entries([at, "accepted"], [at + seconds, "connected"]) });
  const seconds = secondsToAnswer([answered(1000, 9), answered(1000, 4), answered(900, 1), listed(1000)], 950);
  assert.deepEqual(seconds, [4, 9]);
  assert.equal(median(seconds), 6.5);
  assert.equal(median([1, 2, 9]), 2);
  assert.equal(median([]), null);
});

test("a histogram loses nobody", () => {
  const bars = histogram([0, 4.9, 5, 59.9, 60, 1000]);
  assert.equal(bars.length, STEPS.length + 1);
  assert.deepEqual(bars, [2, 1, 0, 0, 0, 0, 1, 2]);
});

test("CSV", () => {
  const text = csv([listed(0, { dial_second: leg("+15550100"), talk_seconds: 1.5 }, { key: 'a,"b"' })]);
  const [head, row, rest] = text.split("\r\n");
  assert.equal(head.split(",").length, 11);
  assert.equal(row, '1970-01-01T00:00:00.000Z,id-0,"a,""b""",100,+15550100,ended,connected,1.5,,,');
  assert.equal(rest, "");
});

test("no formula in CSV", () => {
  for (const key of ["=1+1", "@a", "-2", "+cmd"]) assert.match(csv([listed(0, {}, { key })]), new RegExp(`,'${key.replace("+", "\\+")},`));
});
