// The shapes that the API answers with, as /openapi.json describes them; for the type checker.

/** @typedef {{"utc.time": string, event: string, detail?: string}} Entry */

/** @typedef {{channel: string, status: string | null, cause: number | null, sip: number | null,
 *   ring_seconds: number | null}} Tried */

/** @typedef {{number: string | null, status: string | null, ring_seconds: number | null,
 *   channel: string | null, cause: number | null, cause_text: string | null, sip: number | null,
 *   by?: string | null, source?: string | null, tried?: Tried[]}} Leg */

/** @typedef {{state: string, outcome: string | null, reason: string | null, hung_up_by: string | null,
 *   cause: number | null, cause_text: string | null, dial_first: Leg, dial_second: Leg,
 *   dial_as: string | null, talk_seconds: number | null, timeline: Entry[]}} Call */

/** @typedef {{request_id: string, "utc.time": string, key: string, call: Call}} Listed */

/** @typedef {{"utc.time": string, request_url: string, http_method: string,
 *   request_data: Record<string, unknown>}} Received */

/** @typedef {{request: Received,
 *   pbx_request: {"utc.time": string, pbx_data: Record<string, unknown>} | null,
 *   response: {"utc.time": string, response_data: Record<string, unknown>} | null,
 *   call: Call}} Status */

/** @typedef {{id: string, type: string, server_id: string, request_id: string,
 *   "utc.time": string, call: Call}} CallEvent */

export {};
