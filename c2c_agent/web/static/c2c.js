// Click to call on any page: <c2c-call number="…">, and links to tel:.
//
//   <script src="https://agent.example.com/c2c.js" data-token-url="/my/token" data-links defer></script>
//   <c2c-call number="+1 555 010 0100">Call Ann</c2c-call>
//
// `data-token-url` is a path of the page's own back end. It is asked by POST, with the page's
// cookies, and answers with JSON that has a `token` in it. A key never comes into a page.
// `data-links` has the page's links to tel: call by this as well.
//
// One file without imports, so that a page needs one line; no inline style, no inline script.
(() => {
  "use strict";

  const script = /** @type {HTMLScriptElement | null} */ (document.currentScript);
  const BASE = new URL("c2c/v2", new URL(".", script?.src ?? location.href));
  const settings = script?.dataset ?? {};

  /** Seconds for which a second click on the same number is the first one's echo. */
  const ECHO = 5;

  /** @typedef {{number: string | null, by?: string | null}} Leg */
  /** @typedef {{state: string, outcome: string | null, dial_first: Leg, dial_second: Leg}} Call */

  /** @type {Record<string, string>} */
  const STATES = {
    accepted: "Calling your phone…",
    dialing_first: "Calling your phone…",
    first_ringing: "Your phone rings…",
    first_answered: "Calling…",
    dialing_second: "Calling…",
    second_ringing: "Ringing…",
    connected: "Talking",
  };

  /** @type {Record<string, string>} */
  const OUTCOMES = {
    connected: "Call ended",
    first_busy: "Your phone was busy",
    first_no_answer: "Your phone was not answered",
    first_declined: "Your phone declined",
    first_unreachable: "Your phone could not be reached",
    second_busy: "Busy",
    second_no_answer: "No answer",
    second_declined: "Declined",
    second_unreachable: "Could not be reached",
    abandoned: "Hung up before the answer",
    cancelled: "Cancelled",
    expired: "Came too late",
    unknown: "How it ended is not known",
  };

  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    :host { display: inline-flex; flex-wrap: wrap; align-items: baseline; gap: .5em; font: inherit; }
    :host([hidden]) { display: none; }
    button { font: inherit; color: inherit; padding: .15em .7em; min-height: 24px; cursor: pointer;
      background: transparent; border: 1px solid currentColor; border-radius: .4em; }
    button:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
    button[aria-disabled="true"] { cursor: default; opacity: .6; }
    [hidden] { display: none; }
    ::slotted(a) { color: inherit; }
  `);

  /** The token, for as long as it is good. @type {{url: string, token: string, until: number} | null} */
  let kept = null;

  /** @param {string} url @param {boolean} anew */
  async function tokenFrom(url, anew) {
    if (!anew && kept?.url === url && Date.now() < kept.until) return kept.token;
    const response = await fetch(url, { method: "POST", credentials: "same-origin", headers: { Accept: "application/json" } });
    const answer = response.ok ? await response.json().catch(() => null) : null;
    if (typeof answer?.token !== "string") throw new Error("No token for a call");
    kept = { url, token: answer.token, until: Date.now() + 60_000 };
    return kept.token;
  }

  /** @param {string} path @param {string} token @param {object} [body] @param {AbortSignal} [signal] @param {string} [last] */
  function send(path, token, body, signal, last) {
    /** @type {Record<string, string>} */
    const headers = { Authorization: `Bearer ${token}` };
    if (body) headers["Content-Type"] = "application/json";
    if (last) headers["Last-Event-ID"] = last;
    return fetch(BASE + path, {
      method: body ? "POST" : "GET",
      body: body && JSON.stringify(body),
      headers,
      signal,
      cache: "no-store",
      credentials: "omit",
      referrerPolicy: "no-referrer",
    });
  }

  /** @param {any} answer */
  function faults(answer) {
    return (answer.response?.errors ?? answer.errors ?? []).map((/** @type {any} */ one) => one.error);
  }

  /** @param {number} milliseconds */
  const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

  function newId() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 15) | 64;
    bytes[8] = (bytes[8] & 63) | 128;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  }

  /** When each number was called last from this page. @type {Map<string, number>} */
  const lately = new Map();

  /** One call from a click to its end. */
  class Calling {
    /** @param {string} number @param {string} url @param {(words: string, over: boolean, call: Call | null) => void} tell */
    constructor(number, url, tell) {
      this.number = number;
      this.url = url;
      this.tell = tell;
      this.id = newId();
      this.token = "";
      this.ended = false;
    }

    async run() {
      this.tell("Calling your phone…", false, null);
      try {
        const answer = await this.place();
        const [fault] = faults(answer);
        if (fault) return this.end(fault.message);
        this.id = answer.response.request_id; // of the first one, where this click was its echo
        await this.follow();
      } catch (error) {
        this.end(error instanceof TypeError ? "The call could not be placed" : /** @type {Error} */ (error).message);
      }
      return undefined;
    }

    /** Asked again under the same id where the answer is lost: nobody is rung twice. */
    async place() {
      for (let attempt = 0; ; attempt += 1) {
        this.token = await tokenFrom(this.url, attempt > 0);
        try {
          const body = { dial_second: this.number, request_id: this.id };
          const response = await send("", this.token, body);
          const answer = await response.json();
          // A token may have ended before we knew: another one, once.
          if (attempt || faults(answer)[0]?.code !== "unauthorized") return answer;
        } catch (error) {
          if (attempt === 3) throw error;
          await pause(500 * 2 ** attempt);
        }
      }
    }

    async follow() {
      let last = "";
      for (let attempt = 0; !this.ended; attempt += 1) {
        try {
          const response = await send(`/events/${this.id}`, this.token, undefined, undefined, last);
          if (!response.headers.get("content-type")?.startsWith("text/event-stream")) {
            const answer = await response.json();
            if (answer.c2c_status) this.heard(answer.c2c_status.call);
            else if (["unauthorized", "not_found"].includes(faults(answer)[0]?.code)) this.end("");
          } else if (response.body) {
            const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
            let text = "";
            for (;;) {
              const { done, value } = await reader.read();
              if (done) break;
              attempt = 0;
              const messages = (text + value).split("\n\n");
              text = messages.pop() ?? "";
              for (const message of messages) {
                const id = /^id: ?(.*)$/m.exec(message);
                const data = /^data: ?(.*)$/m.exec(message);
                if (id) last = id[1];
                if (data) this.heard(JSON.parse(data[1]).call);
              }
            }
          }
        } catch {
          // The connection is lost, and the call goes on: come again.
        }
        if (!this.ended) await pause(Math.min(10_000, 500 * 2 ** attempt));
      }
    }

    /** @param {Call} call */
    heard(call) {
      if (call.state !== "ended") return this.tell(STATES[call.state] ?? call.state, false, call);
      const byItself = call.outcome === "connected" && call.dial_second.by === "dialplan";
      const words = OUTCOMES[call.outcome ?? ""] ?? "The call was not placed";
      return this.end(byItself ? "Answered by the PBX" : words, call);
    }

    /** @param {string} words @param {Call | null} [call] */
    end(words, call = null) {
      this.ended = true;
      this.tell(words, true, call);
    }

    hangUp() {
      return send(`/cancel/${this.id}`, this.token, {}).catch(() => {});
    }
  }

  /**
   * A number that calls when it is clicked. Attributes: `number`, `token-url`. Dispatches
   * `c2c-state` with `{requestId, state, outcome, words}`.
   */
  class CallElement extends HTMLElement {
    /** @type {Calling | null} */
    #calling = null;
    #button = document.createElement("button");
    #state = document.createElement("span");
    #hangUp = document.createElement("button");

    constructor() {
      super();
      const root = this.attachShadow({ mode: "open", delegatesFocus: true });
      root.adoptedStyleSheets = [sheet];
      this.#button.type = this.#hangUp.type = "button";
      this.#button.part.add("button");
      this.#state.part.add("state");
      this.#hangUp.part.add("hang-up");
      this.#hangUp.textContent = "Hang up";
      this.#hangUp.hidden = true;
      this.#state.setAttribute("role", "status");
      this.#button.append(document.createElement("slot"));
      root.append(this.#button, this.#state, this.#hangUp);
      this.#button.addEventListener("click", () => this.call());
      this.#hangUp.addEventListener("click", () => this.hangUp());
    }

    static observedAttributes = ["number"];

    attributeChangedCallback() {
      // Without words of its own, the element shows its number.
      const slot = /** @type {HTMLSlotElement} */ (this.#button.firstChild);
      slot.textContent = this.number;
    }

    get number() {
      return this.getAttribute("number") ?? "";
    }

    /** Call the number, unless it is being called, or was a moment ago. */
    call() {
      const number = this.number.trim();
      const url = this.getAttribute("token-url") ?? settings.tokenUrl;
      const now = performance.now();
      if (!number || this.#calling || now - (lately.get(number) ?? -Infinity) < ECHO * 1000) return;
      if (!url) {
        this.#state.textContent = "This page says nowhere where a token for a call is to be had";
        return;
      }
      lately.set(number, now);
      this.#calling = new Calling(number, new URL(url, document.baseURI).href, (...told) => this.#told(...told));
      this.#calling.run();
    }

    hangUp() {
      this.#calling?.hangUp();
    }

    /** @param {string} words @param {boolean} over @param {Call | null} call */
    #told(words, over, call) {
      const requestId = this.#calling?.id ?? "";
      const hadFocus = this.shadowRoot?.activeElement;
      this.#state.textContent = words;
      this.#button.ariaDisabled = over ? null : "true"; // not `disabled`, which would take the focus
      this.#hangUp.hidden = over || call === null;
      if (over) {
        this.#calling = null;
        if (hadFocus === this.#hangUp) this.#button.focus();
      } else if (hadFocus === this.#button && call !== null) this.#hangUp.focus();
      const detail = { requestId, state: call?.state ?? (over ? "ended" : "accepted"), outcome: call?.outcome ?? null, words };
      this.dispatchEvent(new CustomEvent("c2c-state", { bubbles: true, composed: true, detail }));
    }
  }

  if (!customElements.get("c2c-call")) customElements.define("c2c-call", CallElement);

  // Links

  /** The state beside each link that was clicked. @type {WeakMap<Element, CallElement>} */
  const beside = new WeakMap();

  /** @param {string} href */
  function numberOf(href) {
    try {
      return decodeURIComponent(href.slice(4));
    } catch {
      return href.slice(4);
    }
  }

  if (settings.links !== undefined) {
    document.addEventListener("click", (event) => {
      const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
      const [target] = event.composedPath();
      const link = target instanceof Element ? target.closest('a[href^="tel:" i]') : null;
      if (!link || !plain || event.defaultPrevented) return;
      event.preventDefault();
      let element = beside.get(link);
      if (!element) {
        element = /** @type {CallElement} */ (document.createElement("c2c-call"));
        element.setAttribute("number", numberOf(link.getAttribute("href") ?? ""));
        element.setAttribute("beside-link", "");
        element.shadowRoot?.querySelector("button")?.setAttribute("hidden", "");
        link.after(" ", element);
        beside.set(link, element);
      }
      element.call();
    });
  }
})();
