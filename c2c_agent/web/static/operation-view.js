// Operation: whether the agent is ready, what its checks find, and the kill switch.

import { ask } from "./api.js";
import { element, h, moment, put, words } from "./dom.js";

const parts = element("parts", HTMLElement);
const ready = element("ready", HTMLElement);
const switchWords = element("switch-words", HTMLElement);
const switchError = element("switch-error", HTMLElement);
const stopCalls = element("stop-calls", HTMLButtonElement);
const startCalls = element("start-calls", HTMLButtonElement);
const dialog = element("stop-dialog", HTMLDialogElement);
const reason = element("reason", HTMLInputElement);
const hangUp = element("hang-up", HTMLInputElement);
const checkAgain = element("check", HTMLButtonElement);
const checked = element("checked", HTMLElement);
const findings = element("findings", HTMLElement);

/** @typedef {{ok: boolean, name: string, message: string, advice: string, warning: boolean}} Finding */

/** Milliseconds between two looks. */
const INTERVAL = 5000;

/** @type {Record<string, string>} */
const NAMES = { store: "Store", calls: "Calls", ami: "Asterisk (AMI)", amqp: "Broker (AMQP)" };

/** @param {Finding[]} found */
function summary(found) {
  const faults = found.filter(({ ok }) => !ok).length;
  const warnings = found.filter(({ warning }) => warning).length;
  if (!faults && !warnings) return "All is well.";
  const counted = (/** @type {number} */ count, /** @type {string} */ what) => `${count} ${what}${count === 1 ? "" : "s"}`;
  return `${faults ? `${counted(faults, "fault")}: calls do not work. ` : ""}${warnings ? `${counted(warnings, "warning")}.` : ""}`.trim();
}

/** @param {Finding} finding */
function row({ ok, warning, name, message, advice }) {
  const [look, word] = !ok ? ["bad", "fault"] : warning ? ["missed", "warning"] : ["good", "ok"];
  return h("li", {},
    h("span", { class: `chip ${look}` }, word),
    h("div", {}, h("p", {}, h("strong", {}, name), ` ${message}`), advice && h("p", { class: "hint" }, advice)));
}

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
    checkAgain.addEventListener("click", () => this.#check());
  }

  open() {
    this.close();
    switchError.textContent = "";
    this.#look();
    this.#check();
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

  async #check() {
    if (checkAgain.ariaDisabled === "true") return;
    checkAgain.ariaDisabled = "true"; // not `disabled`, which would take the focus away
    put(checked, "Checking…");
    try {
      /** @type {{"utc.time": string, findings: Finding[]}} */
      const { "utc.time": at, findings: found } = await ask("/check");
      findings.replaceChildren(...found.map(row));
      put(checked, `${summary(found)} Checked at ${moment(Number(at))}.`);
    } catch (error) {
      put(checked, words(error));
    }
    checkAgain.ariaDisabled = null;
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
