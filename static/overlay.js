// What is known of the picture being shown, in numbers.

import { element, setText } from "./elements.js";

/** @typedef {[text: string, why?: string]} Said a value, and what it means where that is not plain */

/** @param {number | undefined} value @param {(value: number) => string} text @param {string} why it is not known
 * @returns {Said} */
const known = (value, text, why = "not known yet") => (value === undefined || !Number.isFinite(value) ? ["–", why] : [text(value)]);

/** @param {number} bits a second */
const rate = (bits) => (bits >= 1e6 ? `${(bits / 1e6).toFixed(2)} Mbit/s` : `${Math.round(bits / 1e3)} kbit/s`);

/** @param {number} ms */
const time = (ms) => (ms < 2000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

/** Pictures and bytes are counted over so many looks, a second each. */
const LOOKS = 3;

/** A table over `camera`'s picture, renewed every second while it is open. */
export class Overlay {
  #rows = new Map();
  #timer = 0;
  /** @type {any[]} what was known at the last looks */
  #looks = [];

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
    this.#looks = [];
    if (this.isOpen) {
      this.#timer = setInterval(() => this.#renew(), 1000);
      this.#renew();
    }
  }

  async #renew() {
    const now = await this.camera.stats();
    if (!now) {
      this.#looks = [];
      return this.#show({ Output: [this.camera.state] });
    }
    now.at = performance.now();
    const last = this.#looks.at(-1);
    const same = last && last.way === now.way && last.quality === now.quality && now.frames >= last.frames && !(now.bytes < last.bytes);
    this.#looks = same ? [...this.#looks.slice(-LOOKS), now] : [now];
    const [first] = this.#looks;
    const seconds = (now.at - first.at) / 1000;
    const codecs = now.tracks.map((/** @type {any} */ { codec }) => codec).join(", ");
    const isTcp = now.path === "websocket" || now.path === "http";
    const overTcp = "TCP sends again what is lost, and does not tell";
    this.#show({
      Output: [[now.way, now.path].filter(Boolean).join(" · ")],
      Codec: [codecs || "–"],
      Resolution: [now.width ? `${now.width} × ${now.height}${now.quality === "sub" ? " (substream)" : ""}` : "–"],
      "Frame rate": known((now.frames - first.frames) / seconds, (fps) => `${fps.toFixed(1)} fps`),
      "Bit rate": known(now.rate ?? ((now.bytes - first.bytes) * 8) / seconds, rate, "this browser does not tell what it loads"),
      Loss: isTcp ? ["none seen (TCP)", overTcp] : known(now.loss, (loss) => `${(loss * 100).toFixed(1)} %`),
      "Round trip":
        isTcp && now.requestTime
          ? [`${time(now.requestTime)} (request)`, "of a request for the list of streams: this output tells none of its own"]
          : known(now.roundTrip, time),
      "Behind camera": known(now.delay, time, "the gateway has not said when this picture was captured"),
    });
  }

  /** @param {Record<string, Said>} lines */
  #show(lines) {
    if ([...this.#rows.keys()].join() !== Object.keys(lines).join()) {
      this.#rows = new Map(Object.keys(lines).map((key) => [key, element("dd")]));
      this.table.replaceChildren(...[...this.#rows].flatMap(([key, value]) => [element("dt", {}, key), value]));
    }
    for (const [key, [text, why = ""]] of Object.entries(lines)) {
      const value = this.#rows.get(key);
      setText(value, text);
      value.title = why;
    }
  }
}
