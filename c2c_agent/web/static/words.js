// What happens to a call, in words. Pure.

/** @typedef {import("./types.js").Call} Call */
/** @typedef {import("./types.js").Leg} Leg */

/**
 * Seconds as a clock shows them: 0:07, 12:34, 1:02:03.
 * @param {number} seconds
 */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const padded = (/** @type {number} */ part) => String(part).padStart(2, "0");
  return hours
    ? `${hours}:${padded(minutes)}:${padded(whole % 60)}`
    : `${minutes}:${padded(whole % 60)}`;
}

/** @type {Record<string, string>} */
const OUTCOMES = {
  connected: "Talked",
  first_busy: "First busy",
  first_no_answer: "First did not answer",
  first_declined: "First declined",
  first_unreachable: "First unreachable",
  second_busy: "Second busy",
  second_no_answer: "Second did not answer",
  second_declined: "Second declined",
  second_unreachable: "Second unreachable",
  abandoned: "Abandoned",
  cancelled: "Cancelled",
  rejected: "Rejected",
  pbx_error: "Refused by the PBX",
  expired: "Expired",
  unknown: "Unknown",
};

/** The names of all outcomes. */
export const outcomes = Object.keys(OUTCOMES);

/**
 * An outcome in two or three words.
 * @param {string} outcome
 */
export function outcomeName(outcome) {
  return OUTCOMES[outcome] ?? outcome;
}

/** Whether nobody knows how a call ended because its PBX does not tell. @param {Call} call */
function isUntold(call) {
  return call.outcome === "unknown" && call.reason === "not_told_by_pbx";
}

/**
 * Whether a call ended well, in vain by nobody's fault, by a fault of the system, or in a way that
 * its PBX does not tell, which is none.
 * @param {Call} call
 * @returns {"good" | "missed" | "untold" | "bad"}
 */
export function kind(call) {
  const outcome = call.outcome ?? "";
  if (outcome === "connected") return "good";
  if (isUntold(call)) return "untold";
  return ["rejected", "pbx_error", "expired", "unknown"].includes(outcome) ? "bad" : "missed";
}

/** @type {Record<string, string>} */
const STATES = {
  accepted: "Accepted",
  dialing_first: "Calling the first phone",
  first_ringing: "The first phone rings",
  first_answered: "The first phone was answered",
  dialing_second: "Calling the second phone",
  second_ringing: "The second phone rings",
  connected: "Talking",
  ended: "Ended",
};

/**
 * A state in a few words.
 * @param {string} state
 */
export function stateName(state) {
  return STATES[state] ?? state;
}

/**
 * How a call ended, as a sentence; what the PBX or the agent said of it stands in `message`.
 * @param {Call} call
 * @param {string} [message]
 */
export function sentence(call, message = "") {
  const first = call.dial_first.number ?? "The first number";
  const second = call.dial_second.number ?? "the second number";
  const told = message ? ` ${message}` : "";
  switch (call.outcome) {
    case "connected":
      return connected(call, first, second);
    case "first_busy":
      return `${first} was busy.`;
    case "first_no_answer":
      return `${first} did not answer.`;
    case "first_declined":
      return `${first} declined.`;
    case "first_unreachable":
      return `${first} could not be reached.`;
    case "second_busy":
      return `${second} was busy.`;
    case "second_no_answer":
      return `${second} did not answer.`;
    case "second_declined":
      return `${second} declined.`;
    case "second_unreachable":
      return `${second} could not be reached.`;
    case "abandoned":
      return `${first} hung up before ${second} answered.`;
    case "cancelled":
      return "The call was cancelled.";
    case "rejected":
      return `The call was not placed.${told}`;
    case "pbx_error":
      return `The PBX did not take the call.${told}`;
    case "expired":
      return "The call came too late and was not placed.";
    case "unknown":
      return isUntold(call)
        ? "How the call ended is not known: the PBX does not tell."
        : "How the call ended is not known.";
    default:
      return stateName(call.state) + ".";
  }
}

/** @param {Call} call @param {string} first @param {string} second */
function connected(call, first, second) {
  const long = call.talk_seconds === null ? "" : ` for ${clock(call.talk_seconds)}`;
  for (const [leg, number] of /** @type {const} */ ([[call.dial_first, first], [call.dial_second, second]])) {
    if (leg.by === "dialplan") {
      return `${number} was answered by the PBX's dialplan (voicemail, menu, announcement or queue), not by a phone.`;
    }
  }
  return `${first} and ${second} talked${long}.`;
}

/**
 * How it is with one leg now, in a word or two.
 * @param {Call} call
 * @param {"first" | "second"} which
 */
export function legState(call, which) {
  const leg = which === "first" ? call.dial_first : call.dial_second;
  if (call.state === "ended") return ended(leg);
  const steps = ["accepted", "dialing_first", "first_ringing", "first_answered", "dialing_second",
    "second_ringing", "connected"];
  const at = steps.indexOf(call.state);
  if (which === "first") {
    if (at < 2) return "calling";
    if (at === 2) return "ringing";
    return call.state === "connected" ? "talking" : "answered";
  }
  if (at < 4) return "waiting";
  if (at === 4) return "calling";
  return at === 5 ? "ringing" : "talking";
}

/** @param {Leg} leg */
function ended(leg) {
  /** @type {Record<string, string>} */
  const words = {
    ANSWER: leg.by === "dialplan" ? "answered by the PBX" : "answered",
    BUSY: "busy",
    NOANSWER: "no answer",
    CANCEL: "not answered",
    CONGESTION: "not reached",
    CHANUNAVAIL: "not reached",
    DONTCALL: "declined",
    TORTURE: "declined",
  };
  if (leg.status === null) return leg.channel === null && leg.cause === null ? "not called" : "ended";
  return words[leg.status] ?? leg.status.toLowerCase();
}

/**
 * The evidence for one leg, as sentences.
 * @param {Leg} leg
 * @returns {string[]}
 */
export function evidence(leg) {
  const number = leg.number ?? "This number";
  /** @type {string[]} */
  const said = [];
  for (const tried of leg.tried ?? []) {
    said.push(`Before that, ${tried.channel} ended with ${tried.status ?? "no status"}${
      codes(tried.cause, null, tried.sip)}.`);
  }
  if (leg.channel !== null) said.push(`The last word came from the channel ${leg.channel}.`);
  const last = lastWord(leg);
  if (last) said.push(last);
  if (leg.ring_seconds !== null) said.push(`It rang for ${leg.ring_seconds} seconds.`);
  if (leg.status !== null) said.push(`The dial status was ${leg.status}.`);
  const why = codes(leg.cause, leg.cause_text, leg.sip);
  if (why) said.push(`It ended with${why.replace(/^,/, "")}.`);
  if (leg.source) said.push(`This was ${leg.source}.`);
  return said.length ? said : [`Nothing is known of ${number}: it was not called.`];
}

/** Who had a leg's last word, as a sentence. @param {Leg} leg */
function lastWord(leg) {
  const answered = leg.status === "ANSWER";
  if (leg.by === "device") return answered ? "A phone or a trunk answered." : "A phone or a trunk ended it.";
  if (leg.by !== "dialplan") return "";
  return answered
    ? "It was answered by the PBX's dialplan (voicemail, menu, announcement or queue), not by a phone."
    : "The PBX's dialplan refused it. No phone did.";
}

/** @param {number | null} cause @param {string | null} text @param {number | null} sip */
function codes(cause, text, sip) {
  const parts = [];
  if (cause !== null) parts.push(` hangup cause ${cause}${text ? ` (${text})` : ""}`);
  if (sip !== null) parts.push(` SIP ${sip}`);
  return parts.length ? `,${parts.join(",")}` : "";
}

/**
 * An entry of a timeline, in words.
 * @param {string} event
 */
export function entryName(event) {
  const text = STATES[event] ?? event.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}
