// One call as a ladder: who told whom what, and when. Pure.

import { entryName } from "./words.js";

/** @typedef {import("./types.js").Status} Status */

/** The lines of a ladder, from left to right. */
export const LINES = /** @type {const} */ (["caller", "agent", "PBX", "first", "second"]);

/** @typedef {{at: number, from: number, to: number, label: string, detail: string}} Rung */

const [CALLER, AGENT, PBX, FIRST, SECOND] = [0, 1, 2, 3, 4];

/** @type {Record<string, [number, number, string]>} */
const ENTRIES = {
  first_ringing: [FIRST, PBX, "rings"],
  first_answered: [FIRST, PBX, "answers"],
  dialing_second: [PBX, SECOND, "dial"],
  second_ringing: [SECOND, PBX, "rings"],
  connected: [SECOND, PBX, "answers"],
  cancel_requested: [CALLER, AGENT, "cancel"],
  pbx_lost: [PBX, AGENT, "link lost"],
};

/** Whose answer an entry tells of. @type {Record<string, "dial_first" | "dial_second">} */
const ANSWERS = { first_answered: "dial_first", connected: "dial_second" };

/** The PBX answers in the place of a phone. @type {[number, number, string]} */
const BY_ITSELF = [PBX, PBX, "dialplan answers"];

/**
 * The rungs of a call, the oldest first.
 * @param {Status} status
 * @returns {Rung[]}
 */
export function ladder(status) {
  const { request, pbx_request: order, response, call } = status;
  const timeline = call.timeline;
  const begin = timeline.length ? Number(timeline[0]["utc.time"]) : Number(request["utc.time"]);
  /** @type {Rung[]} */
  const rungs = [{
    at: begin,
    from: CALLER,
    to: AGENT,
    label: request.http_method,
    detail: `${call.dial_first.number ?? "?"} → ${call.dial_second.number ?? "?"}`,
  }];
  for (const entry of timeline) {
    const at = Number(entry["utc.time"]);
    const detail = entry.detail ?? "";
    if (entry.event === "dialing_first") {
      if (order !== null) rungs.push({ at, from: AGENT, to: PBX, label: action(order.pbx_data), detail });
    } else if (entry.event.startsWith("originate_")) {
      const label = response === null ? entryName(entry.event) : word(response.response_data, entry.event);
      rungs.push({ at, from: PBX, to: AGENT, label, detail });
    } else if (entry.event === "ended") {
      rungs.push(end(status, at));
    } else if (entry.event in ENTRIES) {
      const [from, to, label] = call[ANSWERS[entry.event]]?.by === "dialplan" ? BY_ITSELF : ENTRIES[entry.event];
      rungs.push({ at, from, to, label, detail });
    } else if (entry.event !== "accepted") {
      rungs.push({ at, from: AGENT, to: AGENT, label: entryName(entry.event), detail });
    }
  }
  return rungs;
}

/** @param {Record<string, unknown>} data */
function action(data) {
  return typeof data.Action === "string" ? data.Action : "order";
}

/** @param {Record<string, unknown>} data @param {string} event */
function word(data, event) {
  return typeof data.Response === "string" ? data.Response : entryName(event);
}

/** @param {Status} status @param {number} at @returns {Rung} */
function end({ call }, at) {
  const outcome = call.outcome ?? "ended";
  const detail = call.cause === null ? "" : `cause ${call.cause}`;
  if (call.hung_up_by === "first" && outcome === "connected") {
    return { at, from: FIRST, to: PBX, label: "hangs up", detail };
  }
  if (call.hung_up_by === "second" && outcome === "connected") {
    return { at, from: SECOND, to: PBX, label: "hangs up", detail };
  }
  if (outcome === "abandoned") return { at, from: FIRST, to: PBX, label: "hangs up", detail };
  if (outcome.startsWith("first_")) {
    return { at, from: FIRST, to: PBX, label: outcome.slice(6).replace("_", " "), detail };
  }
  if (outcome.startsWith("second_")) {
    return { at, from: SECOND, to: PBX, label: outcome.slice(7).replace("_", " "), detail };
  }
  if (outcome === "rejected" || outcome === "expired") {
    return { at, from: AGENT, to: CALLER, label: outcome, detail };
  }
  return { at, from: PBX, to: AGENT, label: "call over", detail };
}
