// Operation: whether the agent is ready, and the kill switch.

import { ask } from "./api.js";
import { element, h, put, words } from "./dom.js";

const parts = element("parts", HTMLElement);
const ready = element("ready", HTMLElement);
const switchWords = element("switch-words", HTMLElement);
const switchError = element("switch-error", HTMLElement);
const stopCalls = element("stop-calls", HTMLButtonElement);
const startCalls = element("start-calls", HTMLButtonElement);
const dialog = element("stop-dialog", HTMLDialogElement);
const reason = element("reason", HTMLInputElement);
const hangUp = element("hang-up", HTMLInputElement);

/** Milliseconds between two looks. */
const INTERVAL = 5000;

/** @type {Record<string, string>} */
const NAMES = { store: "Store", calls: "Calls", ami: "Asterisk (AMI)", amqp: "Broker (AMQP)" };

export class OperationView {
  #timer = 0;

  constructor() {
    stopCalls.addEventListener("click", () => {
      reason.value = "";
      hangUp.checked = false;
      dialog.returnValue = "";
      dialog.showModal();
    });
    dialog.addEventListener("close", () => {
      if (dialog.returnValue === "stop") this.#turn("/stop-calls", { reason: reason.value, hang_up: hangUp.checked });
    });
    startCalls.addEventListener("click", () => this.#turn("/start-calls", {}));
  }

  open() {
    this.close();
    switchError.textContent = "";
    this.#look();
    this.#timer = window.setInterval(() => this.#look(), INTERVAL);
  }

  close() {
    clearInterval(this.#timer);
  }

  /** @param {string} path @param {Record<string, unknown>} body */
  async #turn(path, body) {
    switchError.textContent = "";
    try {
      await ask(path, { method: "POST", body });
    } catch (error) {
      switchError.textContent = words(error);
    }
    await this.#look();
    (stopCalls.hidden ? startCalls : stopCalls).focus();
  }

  async #look() {
    /** @type {{ready: boolean, parts: Record<string, string>}} */
    let answer;
    try {
      answer = await ask("readyz", { outside: true });
    } catch (error) {
      put(ready, words(error));
      ready.className = "chip bad";
      return;
    }
    put(ready, answer.ready ? "ready" : "not ready");
    ready.className = `chip ${answer.ready ? "good" : "bad"}`;
    parts.replaceChildren(...Object.entries(answer.parts).flatMap(([name, why]) => [
      h("dt", {}, NAMES[name] ?? name),
      h("dd", { class: why === "ok" ? "good" : "bad" }, why === "ok" ? "ready" : why),
    ]));
    const stopped = answer.parts.calls !== undefined && answer.parts.calls !== "ok";
    put(switchWords, stopped
      ? "No call is placed at present, for no key."
      : "For an emergency, such as a stolen key: no call is placed any more until you start them again.");
    stopCalls.hidden = stopped;
    startCalls.hidden = !stopped;
  }
}
