import assert from "node:assert/strict";
import { test } from "node:test";
import { linked, typed } from "../../../c2c_agent/web/static/number.js";

test("what people paste", () => {
  assert.equal(typed("  +1 (555)\u00a0010-0100\u200e\n"), "+1 (555) 010-0100");
  assert.equal(typed("tel:+1-555"), "+1-555");
  assert.equal(typed("callto://100"), "100");
  assert.equal(typed(" \u202f "), "");
});

test("nothing is repaired", () => {
  for (const text of ["1-800-FLOWERS", "100;ext=5", "100,,5", "call me"]) assert.equal(typed(text), text);
});

test("links", () => {
  assert.equal(linked("tel:%2B1-555"), "+1-555");
  assert.equal(linked("TEL:100"), "100");
  assert.equal(linked("tel:100%"), "100%");
  assert.equal(linked("tel:"), null);
  assert.equal(linked("https://example.com"), null);
});
