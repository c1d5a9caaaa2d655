// What is known of the picture being shown, in numbers.

import { element, setText } from "./elements.js";

/** @param {number | undefined} value @param {(value: number) => string} text */
const known = (value, text) => (value === undefined || Number.isNaN(value) ? "–" : text(value));

/** @param {number} bits a second */
const rate = (bits) => (bits >= 1e6 ? `${(bits / 1e6).toFixed(2)} Mbit/s` : `${Math.round(bits / 1e3)} kbit/s`);

/** A table over `camera`'s picture, renewed every second while it is open. */
export class Overlay {
  #rows = new Map();
  #timer = 0;
  /** @type {any} */
  #before = null;

  /** @param {any} camera a `porthole-camera` */
  constructor(camera) {
    this.camera = camera;
    this.table = element("dl", { className: "overlay", hidden: true });
    this.table.setAttribute("aria-label", "Statistics");
  }

  get isOpen() {
    return !this.table.hidden;
  }

  toggle() {
    this.table.hidden = !this.table.hidden;
    clearInterval(this.#timer);
    this.#before = null;
    if (this.isOpen) {
      this.#timer = setInterval(() => this.#renew(), 1000);
      this.#renew();
    }
  }

  async #renew() {
    const now = await this.camera.stats();
    const before = this.#before;
    const at = performance.now();
    this.#before = now && { ...now, at };
    if (!now) return this.#show({ Output: this.camera.state });
    const same = before && before.way === now.way && before.quality === now.quality && now.frames >= before.frames;
    const seconds = same ? (at - before.at) / 1000 : NaN;
    const codecs = now.tracks.map((/** @type {any} */ { codec }) => codec).join(", ");
    this.#show({
      Output: [now.way, now.path].filter(Boolean).join(" · "),
      Codec: codecs || "–",
      Resolution: now.width ? `${now.width} × ${now.height}${now.quality === "sub" ? " (substream)" : ""}` : "–",
      "Frame rate": known((now.frames - before?.frames) / seconds, (fps) => `${fps.toFixed(1)} fps`),
      "Bit rate": known(((now.bytes - before?.bytes) * 8) / seconds, rate),
      Loss: known(now.loss, (loss) => `${(loss * 100).toFixed(1)} %`),
      "Round trip": known(now.roundTrip, (ms) => `${Math.round(ms)} ms`),
      "Behind camera": known(now.delay, (ms) => (ms < 2000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`)),
    });
  }

  /** @param {Record<string, string>} lines */
  #show(lines) {
    if ([...this.#rows.keys()].join() !== Object.keys(lines).join()) {
      this.#rows = new Map(Object.keys(lines).map((key) => [key, element("dd")]));
      this.table.replaceChildren(...[...this.#rows].flatMap(([key, value]) => [element("dt", {}, key), value]));
    }
    for (const [key, value] of Object.entries(lines)) setText(this.#rows.get(key), value);
  }
}
