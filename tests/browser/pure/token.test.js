import assert from "node:assert/strict";
import { test } from "node:test";
import { boundTo } from "../../../c2c_agent/web/static/token.js";

const token = (claims) => `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.c2ln`;

test("the first leg of a token", () => {
  assert.equal(boundTo(token({ dial_first: "100", note: "???>>>" })), "100");
  assert.equal(boundTo(token({ dial_first: 100 })), "");
  assert.equal(boundTo(token({})), "");
});

test("what is no token", () => {
  for (const text of ["", "c2c_key", "a.b", "a.!.c", "a.bm8.c"]) assert.equal(boundTo(text), "");
});
