import assert from "node:assert/strict";
import { test } from "node:test";
import { LINES, ladder } from "../../../c2c_agent/web/static/ladder.js";
import { call, entries, leg } from "./calls.js";

function status(of, order = { "utc.time": "1", pbx_data: { Action: "Originate" } }) {
  return {
    request: { "utc.time": "1", request_url: "http://a", http_method: "POST", request_data: {} },
    pbx_request: order,
    response: order && { "utc.time": "1", response_data: { Response: "Success" } },
    call: of,
  };
}

const told = (known) => ladder(known).map(({ from, to, label }) => `${LINES[from]} > ${LINES[to]}: ${label}`);

test("a call from the request to its end", () => {
  const timeline = entries([1, "accepted"], [1.1, "dialing_first"], [1.2, "originate_accepted"], [2, "first_ringing", "PJSIP/100-1"],
    [3, "first_answered"], [3.1, "dialing_second"], [4, "second_ringing"], [5, "connected"], [9, "ended", "connected"]);
  const known = status(call({ timeline, hung_up_by: "second", cause: 16 }));
  assert.deepEqual(told(known), [
    "caller > agent: POST", "agent > PBX: Originate", "PBX > agent: Success", "first > PBX: rings", "first > PBX: answers",
    "PBX > second: dial", "second > PBX: rings", "second > PBX: answers", "second > PBX: hangs up",
  ]);
  const rungs = ladder(known);
  assert.equal(rungs[3].detail, "PJSIP/100-1");
  assert.equal(rungs.at(-1).detail, "cause 16");
  assert.deepEqual([rungs[0].at, rungs.at(-1).at], [1, 9]);
});

test("who answered for a phone", () => {
  const timeline = entries([1, "accepted"], [2, "first_answered"], [3, "connected"]);
  const answered = (first, second) => told(status(call({
    timeline, dial_first: leg("100", { by: first }), dial_second: leg("200", { by: second }),
  }), null)).slice(1);
  assert.deepEqual(answered("device", "dialplan"), ["first > PBX: answers", "PBX > PBX: dialplan answers"]);
  assert.deepEqual(answered("dialplan", "device"), ["PBX > PBX: dialplan answers", "second > PBX: answers"]);
  assert.deepEqual(answered(null, null), ["first > PBX: answers", "second > PBX: answers"]);
});

test("ends", () => {
  const end = (outcome, more = {}) => told(status(call({ outcome, timeline: entries([1, "accepted"], [2, "ended"]), ...more }))).at(-1);
  assert.equal(end("first_busy"), "first > PBX: busy");
  assert.equal(end("second_no_answer"), "second > PBX: no answer");
  assert.equal(end("abandoned"), "first > PBX: hangs up");
  assert.equal(end("connected", { hung_up_by: "first" }), "first > PBX: hangs up");
  assert.equal(end("rejected"), "agent > caller: rejected");
  assert.equal(end("unknown"), "PBX > agent: call over");
});

test("what else is noted stands at the agent", () => {
  const timeline = entries([1, "accepted"], [2, "cancel_requested"], [3, "something_new"], [4, "pbx_lost", "the link"]);
  assert.deepEqual(told(status(call({ state: "accepted", outcome: null, timeline }), null)), [
    "caller > agent: POST", "caller > agent: cancel", "agent > agent: Something new", "PBX > agent: link lost",
  ]);
});
