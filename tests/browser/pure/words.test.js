import assert from "node:assert/strict";
import { test } from "node:test";
import { clock, evidence, kind, legState, outcomeName, outcomes, sentence } from "../../../c2c_agent/web/static/words.js";
import { call, leg } from "./calls.js";

test("a clock", () => {
  assert.deepEqual([0, 7.9, 59, 60, 754, 3723, -1].map(clock), ["0:00", "0:07", "0:59", "1:00", "12:34", "1:02:03", "0:00"]);
});

test("every outcome has a sentence of its own", () => {
  const said = outcomes.map((outcome) => sentence(call({ outcome })));
  assert.equal(new Set(said).size, 15);
  for (const words of said) assert.match(words, /^[A-Z0-9].*\.$/);
  for (const outcome of outcomes) assert.notEqual(outcomeName(outcome), outcome);
});

test("who was busy", () => {
  assert.equal(sentence(call({ outcome: "first_busy" })), "100 was busy.");
  assert.equal(sentence(call({ outcome: "second_busy" })), "200 was busy.");
});

test("a talk", () => {
  assert.equal(sentence(call({ talk_seconds: 83.4 })), "100 and 200 talked for 1:23.");
  assert.equal(sentence(call()), "100 and 200 talked.");
});

test("a voicemail is nobody who talked", () => {
  const said = sentence(call({ talk_seconds: 9, dial_second: leg("200", { by: "dialplan" }) }));
  assert.doesNotMatch(said, /talked/);
  assert.match(said, /^200 was answered by the PBX's dialplan/);
});

test("what the PBX said stands behind", () => {
  assert.equal(sentence(call({ outcome: "pbx_error" }), "No such extension."), "The PBX did not take the call. No such extension.");
});

test("kinds of outcomes", () => {
  const kinds = ["connected", "second_busy", "abandoned", "pbx_error", "unknown"].map((outcome) => kind(call({ outcome })));
  assert.deepEqual(kinds, ["good", "missed", "missed", "bad", "bad"]);
});

test("what a PBX never tells is no fault", () => {
  const untold = call({ outcome: "unknown", reason: "not_told_by_pbx" });
  assert.equal(kind(untold), "untold");
  assert.match(sentence(untold), /the PBX does not tell\.$/);
  const lost = call({ outcome: "unknown", reason: "lost" });
  assert.equal(kind(lost), "bad");
  assert.doesNotMatch(sentence(lost), /PBX/);
});

test("both legs in every state", () => {
  const states = ["accepted", "dialing_first", "first_ringing", "first_answered", "dialing_second", "second_ringing", "connected"];
  const legs = states.map((state) => ["first", "second"].map((which) => legState(call({ state, outcome: null }), which)));
  assert.deepEqual(legs, [["calling", "waiting"], ["calling", "waiting"], ["ringing", "waiting"], ["answered", "waiting"],
    ["answered", "calling"], ["answered", "ringing"], ["talking", "talking"]]);
});

test("both legs at the end", () => {
  const over = (more) => legState(call({ dial_second: leg("200", more) }), "second");
  assert.equal(over({}), "not called");
  assert.equal(over({ status: "BUSY" }), "busy");
  assert.equal(over({ status: "ANSWER" }), "answered");
  assert.equal(over({ status: "ANSWER", by: "dialplan" }), "answered by the PBX");
  assert.equal(over({ status: "NEWWORD" }), "newword");
  assert.equal(over({ cause: 16 }), "ended");
});

test("evidence in words", () => {
  assert.deepEqual(evidence(leg("200")), ["Nothing is known of 200: it was not called."]);
  const tried = [{ channel: "PJSIP/200-1", status: "BUSY", cause: 17, sip: 486, ring_seconds: null }];
  const said = evidence(leg("200", { status: "ANSWER", by: "dialplan", cause: 16, cause_text: "Normal Clearing", sip: 200, ring_seconds: 2.5, channel: "Local/x", source: "watched", tried }));
  assert.deepEqual(said, [
    "Before that, PJSIP/200-1 ended with BUSY, hangup cause 17, SIP 486.",
    "The last word came from the channel Local/x.",
    "It was answered by the PBX's dialplan (voicemail, menu, announcement or queue), not by a phone.",
    "It rang for 2.5 seconds.",
    "The dial status was ANSWER.",
    "It ended with hangup cause 16 (Normal Clearing), SIP 200.",
    "This was watched.",
  ]);
});
