// Calls for the tests, as the API shows them.

export function leg(number, more = {}) {
  return { number, status: null, ring_seconds: null, channel: null, cause: null, cause_text: null, sip: null, ...more };
}

export function call(more = {}) {
  return {
    state: "ended", outcome: "connected", reason: null, hung_up_by: null, cause: null, cause_text: null,
    dial_first: leg("100"), dial_second: leg("200"), dial_as: null, talk_seconds: null, timeline: [], ...more,
  };
}

export function entries(...pairs) {
  return pairs.map(([at, event, detail]) => ({ "utc.time": at.toFixed(3), event, ...(detail ? { detail } : {}) }));
}

export function listed(at, more = {}, outside = {}) {
  return { request_id: `id-${at}`, "utc.time": at.toFixed(3), key: "crm", call: call(more), ...outside };
}
