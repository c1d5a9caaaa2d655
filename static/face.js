// What a camera's element consists of, and what it says in each state. How it
// looks is in look.js.

import { button, element, setIcon, setText } from "./elements.js";

/**
 * @typedef {object} Said
 * @property {"connecting" | "live" | "down" | "paused"} state
 * @property {string} way as people know it
 * @property {boolean} stalled live, and yet no new picture comes
 * @property {boolean} waits the browser wants a press before it plays
 * @property {import("./fault.js").Told | null} told why there is no picture
 * @property {string} notice what it plays without
 * @property {number} retry seconds up to the next try; 0 if nobody knows
 */

/** @param {ReturnType<typeof build>} parts @param {Said} said */
export function say(parts, { state, way, stalled, waits, told, notice, retry }) {
  const { badge, message, title, detail, hint, again, pause } = parts;
  const words = { connecting: "Connecting", live: `Live · ${way}`, down: "No picture", paused: "Paused" };
  setText(badge, stalled ? "No new picture" : words[state]);
  setText(parts.notice, state === "live" ? notice : "");
  const otherwise = { connecting: "Connecting…", live: waits ? "This browser waits for you to start the picture." : "" };
  setText(title, told?.title ?? /** @type {any} */ (otherwise)[state] ?? "");
  setText(detail, told?.detail ?? "");
  setText(hint, told?.hint ?? "");
  const due = told?.next_retry ? Math.ceil((Date.parse(told.next_retry) - Date.now()) / 1000) : 0;
  setText(parts.retry, due > 0 ? `The gateway tries again in ${due} s.` : retry && told ? `Next try in ${retry} s.` : "");
  // Forty tiles that connect are not to be read out; a fault is.
  message.setAttribute("aria-live", told ? "polite" : "off");
  again.hidden = state === "connecting" || (state === "live" && !waits);
  setText(again, state === "paused" || waits ? "Play" : "Try again");
  message.hidden = !title.textContent && again.hidden;
  setIcon(pause, state === "paused" ? "play" : "pause", state === "paused" ? "Play" : "Pause");
}

/** @param {CanvasImageSource & Element} screen @returns {[number, number]} */
export function sizeOf(screen) {
  if (screen instanceof HTMLVideoElement) return [screen.videoWidth, screen.videoHeight];
  if (screen instanceof HTMLImageElement) return [screen.naturalWidth, screen.naturalHeight];
  return [/** @type {any} */ (screen).width, /** @type {any} */ (screen).height];
}

/** Draws what `screen` shows; whether there was anything.
 * @param {any} screen @param {HTMLCanvasElement} canvas */
export function draw(screen, canvas) {
  const [width, height] = screen ? sizeOf(screen) : [0, 0];
  if (!width || !height || (screen instanceof HTMLVideoElement && screen.readyState < 2)) return false;
  Object.assign(canvas, { width, height });
  canvas.getContext("2d")?.drawImage(screen, 0, 0);
  return true;
}

/** The pieces of an element's face; `all` are those to append. */
export function build() {
  const part = (/** @type {string} */ name, /** @type {any[]} */ ...children) => {
    const made = element("div", { className: name }, ...children);
    made.setAttribute("part", name);
    return made;
  };
  const line = (/** @type {string} */ name) => Object.assign(element("p", { className: name }), { part: name });
  const press = () => Object.assign(button("", () => {}), { part: "button" });
  const still = element("canvas", { className: "still", hidden: true });
  still.setAttribute("aria-hidden", "true");
  const stage = part("stage", still);
  const [title, detail, hint, retry] = ["title", "detail", "hint", "retry"].map(line);
  const again = Object.assign(button("Try again", () => {}), { part: "button" });
  const spinner = element("span", { className: "spinner" });
  const message = part("message", spinner, title, detail, hint, retry, again);
  const [badge, notice] = [part("badge"), part("notice")];
  const [pause, mute, full] = [press(), press(), press()];
  const slot = element("slot", { name: "controls" });
  const bar = part("bar", pause, notice, element("span", { className: "gap" }), slot, mute, full);
  return { all: [stage, message, badge, bar], stage, still, message, title, detail, hint, retry, again, badge, notice, bar, pause, mute, full };
}
