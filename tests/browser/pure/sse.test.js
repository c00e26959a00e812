import assert from "node:assert/strict";
import { test } from "node:test";
import { EventReader } from "../../../c2c_agent/web/static/sse.js";

const STREAM = "retry: 3000\n\n:\n\nid: 1\nevent: call.accepted\ndata: {\"a\":\ndata: 1}\n\n"
  + "id: 2\r\ndata:x\r\n\r\nid: 3\n\ndata: y\n\ndata: not complete";
const MESSAGES = [
  { id: "1", event: "call.accepted", data: '{"a":\n1}' },
  { id: "2", event: "message", data: "x" },
  { id: "3", event: "message", data: "y" },
];

test("messages, comments, and what is not complete", () => {
  assert.deepEqual(new EventReader().read(STREAM), MESSAGES);
});

test("the same, cut anywhere", () => {
  for (let cut = 0; cut <= STREAM.length; cut += 1) {
    const reader = new EventReader();
    assert.deepEqual([...reader.read(STREAM.slice(0, cut)), ...reader.read(STREAM.slice(cut))], MESSAGES);
  }
  const reader = new EventReader();
  assert.deepEqual([...STREAM].flatMap((letter) => reader.read(letter)), MESSAGES);
});
