// Which call was placed a moment ago: the same two numbers again are the same call. Pure.

/** For how many seconds. */
export const WINDOW = 5;

export class Repeats {
  /** @type {{first: string, second: string, id: string, until: number} | null} */
  #latest = null;

  /**
   * The id of the call between these two that was placed a moment ago; empty if there was none.
   * @param {string} first
   * @param {string} second
   * @param {number} now seconds
   */
  find(first, second, now) {
    const latest = this.#latest;
    if (latest === null || now >= latest.until) return "";
    return latest.first === first && latest.second === second ? latest.id : "";
  }

  /**
   * A call was placed.
   * @param {string} first
   * @param {string} second
   * @param {string} id
   * @param {number} now seconds
   */
  note(first, second, id, now) {
    this.#latest = { first, second, id, until: now + WINDOW };
  }

  /** Somebody else may sign in: what was placed before is no call of theirs. */
  forget() {
    this.#latest = null;
  }
}
