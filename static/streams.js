// What the gateway knows of its streams, asked again and again while somebody
// looks: once for all players of a page.

import { Fault, request } from "./fault.js";

/**
 * @typedef {object} Track
 * @property {"video" | "audio"} kind
 * @property {string} codec as people know it
 * @property {string | null} rfc6381 as browsers know it; `null` where MP4 does not carry it
 * @property {number | null} width
 * @property {number | null} height
 *
 * @typedef {object} Quality one quality of a stream
 * @property {"idle" | "connecting" | "live" | "down"} state
 * @property {string} since RFC 3339
 * @property {string} source
 * @property {import("./fault.js").Told | null} error
 * @property {Track[]} tracks
 * @property {import("./fault.js").Told[]} notes
 *
 * @typedef {Quality & { name: string, substream?: Quality }} Stream
 *
 * @typedef {object} Follower
 * @property {(streams: Stream[]) => void} onStreams
 * @property {(fault: Fault) => void} onFault
 */

const EVERY_MS = 2000;
/** While something is amiss, which may be over any moment. */
const EVERY_MS_IN_TROUBLE = 1000;
const NAME = /^[a-z0-9-]{1,63}$/;

/** @type {Map<string, Poller>} */
const pollers = new Map();

class Poller {
  /** @param {string} url */
  constructor(url) {
    this.url = url;
    /** @type {Set<Follower>} */
    this.followers = new Set();
    /** @type {Stream[] | null} */
    this.streams = null;
    this.at = -Infinity;
    /** The gateway's clock less ours, milliseconds. */
    this.clock = 0;
    /** Of the best look at the gateway's clock: half of it is the error. */
    this.roundTrip = Infinity;
    /** Of the last request and its answer, milliseconds. */
    this.lastRoundTrip = NaN;
    this.running = false;
    this.timer = 0;
    this.wake = () => {};
  }

  async run() {
    if (this.running) return;
    this.running = true;
    while (this.followers.size > 0) {
      if (!document.hidden) await this.ask();
      const trouble = !this.streams || this.streams.some(({ state }) => state !== "live" && state !== "idle");
      const wait = trouble ? EVERY_MS_IN_TROUBLE : EVERY_MS;
      await new Promise((resolve) => {
        this.wake = () => resolve(undefined);
        this.timer = setTimeout(resolve, wait);
      });
      clearTimeout(this.timer);
    }
    this.running = false;
  }

  async ask() {
    try {
      const sent = performance.now();
      const response = await request(this.url, { signal: AbortSignal.timeout(10_000) });
      const { streams, now } = await response.json();
      this.at = performance.now();
      this.lastRoundTrip = this.at - sent;
      if (now) this.setClock(Date.parse(now), this.lastRoundTrip);
      // A name becomes part of a URL: only what the gateway allows.
      this.streams = streams.filter((/** @type {Stream} */ { name }) => NAME.test(name));
      for (const { onStreams } of [...this.followers]) onStreams(this.streams ?? []);
    } catch (error) {
      const fault = error instanceof Fault ? error : new Fault({ title: "The gateway does not answer." });
      for (const { onFault } of [...this.followers]) onFault(fault);
    }
  }

  /** @param {number} theirs @param {number} roundTrip */
  setClock(theirs, roundTrip) {
    // An old look counts for less: clocks drift.
    this.roundTrip += 1;
    if (roundTrip > this.roundTrip) return;
    this.roundTrip = roundTrip;
    this.clock = theirs - (Date.now() - roundTrip / 2);
  }
}

/**
 * Calls `onStreams` or `onFault` now and then, until the function returned is
 * called.
 * @param {URL} url of the gateway's `api/streams`
 * @param {Follower["onStreams"]} onStreams
 * @param {Follower["onFault"]} onFault
 */
export function follow(url, onStreams, onFault = () => {}) {
  const key = url.href;
  const poller = pollers.get(key) ?? new Poller(key);
  pollers.set(key, poller);
  const follower = { onStreams, onFault };
  poller.followers.add(follower);
  if (poller.streams && performance.now() - poller.at < EVERY_MS) onStreams(poller.streams);
  else poller.wake();
  poller.run();
  return () => {
    poller.followers.delete(follower);
  };
}

/** The gateway's time, Unix milliseconds.
 * @param {URL} url of its `api/streams` */
export const gatewayTime = (url) => Date.now() + (pollers.get(url.href)?.clock ?? 0);

/** Milliseconds from the last request for the list to its answer, if there was one.
 * @param {URL} url of the gateway's `api/streams` */
export const requestTime = (url) => pollers.get(url.href)?.lastRoundTrip;

/** Asks at once: something has just happened.
 * @param {URL} url of the gateway's `api/streams` */
export const askNow = (url) => pollers.get(url.href)?.wake();

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) for (const poller of pollers.values()) poller.wake();
});
