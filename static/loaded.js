// What the browser's own HLS has loaded, which it tells nobody: read off the
// page's log of requests and the playlist.

import { request } from "./fault.js";

/** What came within so many milliseconds may be in the buffer, or not yet. */
const RESTLESS_MS = 400;
/** The rate is of so many pieces, the newest ones; the delay of so many looks. */
const COUNTED = 5;

export class Loaded {
  /** @type {{ url: string, at: number, bytes: number }[]} the newest pieces */
  #pieces = [];
  /** @type {number[]} */
  #zeros = [];
  #observer;
  /** Of the playlist that has the newest of them. */
  #read = { newest: "", spans: new Map() };

  /** @param {URL} playlist the multivariant one */
  constructor(playlist) {
    const folder = new URL("hls/", playlist).href;
    this.#observer = new PerformanceObserver((list) => {
      for (const entry of /** @type {PerformanceResourceTiming[]} */ (list.getEntries())) {
        if (!entry.name.startsWith(folder) || !/\.m4s$/.test(new URL(entry.name).pathname)) continue;
        this.#pieces.push({ url: entry.name, at: entry.responseEnd, bytes: entry.encodedBodySize });
      }
      this.#pieces.splice(0, this.#pieces.length - 2 * COUNTED);
    });
    this.#observer.observe({ type: "resource" });
  }

  stop() {
    this.#observer.disconnect();
  }

  /** `rate`, of what was loaded last, in bits a second; `zero`, the Unix
   *  milliseconds when what is at the player's time 0 was captured. NaN where
   *  nobody knows: a browser may keep what it loads to itself.
   * @param {TimeRanges} buffered @param {AbortSignal} signal */
  async look(buffered, signal) {
    const newest = this.#pieces.at(-1);
    if (!newest) return { rate: NaN, zero: NaN };
    const url = new URL(newest.url);
    if (this.#read.newest !== newest.url) {
      const list = new URL("media.m3u8", url);
      list.search = url.search;
      const text = await (await request(list, { signal })).text();
      this.#read = { newest: newest.url, spans: read(text, list) };
    }
    const { spans } = this.#read;
    // The end of what is loaded is the end of what is buffered; looked at more
    // than once, since the two do not change at the same moment.
    const isCalm = newest === this.#pieces.at(-1) && performance.now() - newest.at > RESTLESS_MS;
    const end = spans.get(newest.url)?.end;
    if (isCalm && end && buffered.length) this.#zeros.push(end - buffered.end(buffered.length - 1) * 1000);
    this.#zeros.splice(0, this.#zeros.length - COUNTED);
    const zeros = [...this.#zeros].sort((a, b) => a - b);
    const known = this.#pieces.slice(-COUNTED).flatMap(({ url, bytes }) => {
      const span = spans.get(url);
      return span && bytes ? { ...span, bytes } : [];
    });
    const seconds = known.reduce((sum, { duration }) => sum + duration, 0);
    const bytes = known.reduce((sum, { bytes }) => sum + bytes, 0);
    return { rate: seconds ? (bytes * 8) / seconds : NaN, zero: zeros[zeros.length >> 1] ?? NaN };
  }
}

/** Each piece of a media playlist by its URL: how many seconds it has, and when
 *  its last picture was captured.
 * @param {string} text @param {URL} base */
function read(text, base) {
  const spans = new Map();
  let [clock, ofParts, duration] = [NaN, NaN, 0];
  const add = (/** @type {string} */ uri, /** @type {number} */ seconds, /** @type {number} */ end) =>
    spans.set(new URL(uri, base).href, { duration: seconds, end });
  for (const line of text.split("\n")) {
    const [, tag, value = ""] = /^#([A-Z-]+):?(.*)/.exec(line) ?? [];
    if (tag === "EXT-X-PROGRAM-DATE-TIME") clock = ofParts = Date.parse(value);
    else if (tag === "EXTINF") duration = parseFloat(value);
    else if (tag === "EXT-X-PART") {
      const seconds = Number(/DURATION=([\d.]+)/.exec(value)?.[1]);
      ofParts += seconds * 1000;
      add(/URI="([^"]*)"/.exec(value)?.[1] ?? "", seconds, ofParts);
    } else if (line && !line.startsWith("#")) {
      clock += duration * 1000;
      ofParts = clock;
      add(line, duration, clock);
    }
  }
  return spans;
}
