// Server-sent events, read from a stream of text (HTML Standard, section 9.2.6). Pure.

/** @typedef {{id: string, event: string, data: string}} Message */

/** Reads text in pieces of any size; gives the messages that are complete. */
export class EventReader {
  #rest = "";
  #id = "";
  #event = "";
  /** @type {string[]} */
  #data = [];

  /**
   * @param {string} text the next piece of the stream
   * @returns {Message[]}
   */
  read(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    return lines.flatMap((line) => this.#line(line));
  }

  /** @param {string} line @returns {Message[]} */
  #line(line) {
    if (line === "") {
      const data = this.#data.join("\n");
      const message = { id: this.#id, event: this.#event || "message", data };
      const complete = this.#data.length > 0;
      this.#data = [];
      this.#event = "";
      return complete ? [message] : [];
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    return [];
  }
}
