// <c2c-call-card>: one call, live: both legs, the clock of the talk, Hang up, and how it ended.

import { now } from "./api.js";
import { clock, legState, sentence, stateName } from "./words.js";

/** @typedef {import("./types.js").Call} Call */

const PHONE = "M6.6 10.8a15 15 0 0 0 6.6 6.6l2.2-2.2a1 1 0 0 1 1-.25 11.4 11.4 0 0 0 3.6.58 1 1 0 0 1 "
  + "1 1V20a1 1 0 0 1-1 1A17 17 0 0 1 3 4a1 1 0 0 1 1-1h3.5a1 1 0 0 1 1 1c0 1.25.2 2.45.57 3.57a1 1 "
  + "0 0 1-.25 1z";

/** Dispatches `hangup` and `again`. */
export class CallCard extends HTMLElement {
  /** @type {Call | null} */
  #call = null;
  #timer = 0;
  #built = false;

  connectedCallback() {
    if (!this.#built) this.#build();
    this.#timer = window.setInterval(() => this.#tick(), 250);
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
  }

  /**
   * Show a call as it is now.
   * @param {Call} call
   * @param {string} [message] what the agent or the PBX said of a call that was not placed
   */
  show(call, message = "") {
    this.#call = call;
    this.dataset.state = call.state;
    const over = call.state === "ended";
    const legs = this.querySelectorAll(".leg");
    for (const [index, which] of /** @type {const} */ (["first", "second"]).entries()) {
      const word = legState(call, which);
      const leg = /** @type {HTMLElement} */ (legs[index]);
      leg.dataset.word = word;
      this.#put(leg, ".number", (which === "first" ? call.dial_first : call.dial_second).number ?? "…");
      this.#put(leg, ".word", word);
    }
    const words = over ? sentence(call, message) : stateName(call.state);
    this.#put(this, ".outcome", over ? words : "");
    this.#put(this, ".said", words);
    this.#element(".clock").hidden = call.state !== "connected";
    this.#element(".outcome").hidden = !over;
    const hangUp = this.#element(".stop");
    const again = this.#element(".again");
    const hadFocus = hangUp === document.activeElement;
    hangUp.hidden = over;
    again.hidden = !over;
    if (over && hadFocus) again.focus();
    if (over) this.notHungUp();
    this.#tick();
  }

  /** Say that the connection to the agent is there, or not. @param {boolean} up */
  set linked(up) {
    this.#element(".lost").hidden = up || this.#call?.state === "ended";
  }

  #build() {
    this.#built = true;
    const leg = (/** @type {string} */ name) => `<li class="leg">
      <span class="phone"><svg viewBox="0 0 24 24" aria-hidden="true"><path d="${PHONE}"/></svg></span>
      <span class="unseen">${name}: </span><span class="number"></span><span class="word"></span></li>`;
    this.innerHTML = `<h2 class="unseen">Call</h2>
      <ul class="legs">${leg("My phone")}${leg("The other phone")}</ul>
      <p class="clock" role="timer" aria-label="Time of the talk" hidden></p>
      <p class="outcome" hidden></p>
      <p class="lost hint" hidden>The connection to the agent is lost. The call goes on.</p>
      <p class="said unseen" role="status"></p>
      <div class="buttons">
        <button type="button" class="stop">Hang up</button>
        <button type="button" class="again" hidden>New call</button>
      </div>`;
    const hangUp = this.#element(".stop");
    hangUp.addEventListener("click", () => {
      // Not `disabled`, which would take the focus away.
      if (hangUp.ariaDisabled === "true") return;
      hangUp.ariaDisabled = "true";
      this.dispatchEvent(new Event("hangup"));
    });
    this.#element(".again").addEventListener("click", () => this.dispatchEvent(new Event("again")));
  }

  /** The call goes on although it was to end: it can be tried again. */
  notHungUp() {
    this.#element(".stop").ariaDisabled = null;
  }

  focusHangUp() {
    this.#element(".stop").focus();
  }

  #tick() {
    if (this.#call?.state !== "connected") return;
    const entry = this.#call.timeline.findLast((one) => one.event === "connected");
    if (entry) this.#put(this, ".clock", clock(now() - Number(entry["utc.time"])));
  }

  /** @param {string} selector @returns {HTMLElement} */
  #element(selector) {
    return /** @type {HTMLElement} */ (this.querySelector(selector));
  }

  /** @param {Element} place @param {string} selector @param {string} text */
  #put(place, selector, text) {
    const element = /** @type {Element} */ (place.querySelector(selector));
    if (element.textContent !== text) element.textContent = text;
  }
}

customElements.define("c2c-call-card", CallCard);
