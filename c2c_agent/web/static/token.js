// What a token says of itself. Pure; only the agent knows whether a token is valid.

/**
 * The first leg that a token is bound to; empty where it is none, or not bound.
 * @param {string} token
 */
export function boundTo(token) {
  const parts = token.split(".");
  if (parts.length !== 3) return "";
  try {
    const json = atob(parts[1].replaceAll("-", "+").replaceAll("_", "/"));
    const claims = JSON.parse(json);
    return typeof claims.dial_first === "string" ? claims.dial_first : "";
  } catch {
    return "";
  }
}
