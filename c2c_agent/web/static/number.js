// Numbers as people paste them. Pure.
//
// The agent decides what a number is: nothing is repaired here but what surely is decoration.

/**
 * What is sent for what was typed: without blanks at its ends, invisible marks, and the beginning
 * of a link.
 * @param {string} text
 */
export function typed(text) {
  return text
    .replace(/[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, "")
    .replace(/[\s\u00a0\u2000-\u200a\u202f\u205f\u3000]+/g, " ")
    .trim()
    .replace(/^(?:tel|callto):(?:\/\/)?/i, "");
}

/**
 * The number in a link, with what stands percent-encoded in it; null where the link is not to a
 * telephone.
 * @param {string} link such as "tel:+1-555-010-0100"
 */
export function linked(link) {
  if (!/^(?:tel|callto):/i.test(link)) return null;
  let text = link;
  try {
    text = decodeURIComponent(link);
  } catch {
    // A percent sign that is none of the encoding: the link as it is.
  }
  return typed(text) || null;
}
