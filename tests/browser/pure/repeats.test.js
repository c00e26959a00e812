import assert from "node:assert/strict";
import { test } from "node:test";
import { Repeats, WINDOW } from "../../../c2c_agent/web/static/repeats.js";

test("the same two numbers are the same call, for five seconds", () => {
  const repeats = new Repeats();
  assert.equal(repeats.find("100", "200", 1000), "");
  repeats.note("100", "200", "one", 1000);
  assert.equal(WINDOW, 5);
  assert.equal(repeats.find("100", "200", 1000), "one");
  assert.equal(repeats.find("100", "200", 1004.9), "one");
  assert.equal(repeats.find("100", "200", 1005), "");
});

test("other numbers are another call", () => {
  const repeats = new Repeats();
  repeats.note("100", "200", "one", 1000);
  assert.equal(repeats.find("100", "201", 1001), "");
  assert.equal(repeats.find("101", "200", 1001), "");
  repeats.note("100", "201", "two", 1001);
  assert.equal(repeats.find("100", "201", 1002), "two");
});

test("nothing is left for who signs in next", () => {
  const repeats = new Repeats();
  repeats.note("100", "200", "one", 1000);
  repeats.forget();
  assert.equal(repeats.find("100", "200", 1001), "");
});
