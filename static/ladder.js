// Which way is played now: the best that works, down a rung when it fails, up
// again when it can. A new way plays beside the old one until its first picture
// is there, so that the screen never goes dark in between.

import { Fault, unplayable } from "./fault.js";
import { child, Deferred, once, sleep, turn } from "./wait.js";
import { choose, WAYS } from "./ways.js";

/**
 * @typedef {import("./ways.js").Way} Way
 * @typedef {"main" | "sub"} Quality
 *
 * @typedef {object} Host what a ladder stands in
 * @property {(path: string, quality: Quality) => URL} url below the stream's own
 * @property {() => number} now the gateway's time, Unix milliseconds
 * @property {(signal: AbortSignal) => Promise<void>} known resolves once the gateway was asked about the stream, or did not answer
 * @property {(quality: Quality) => import("./streams.js").Quality | undefined} listed
 * @property {() => Quality} quality the one wanted now
 * @property {() => boolean} sound whether anybody listens
 * @property {() => string[]} wanted keys of ways; none for all
 * @property {(screen: HTMLElement) => void} mount puts a screen where it can be shown
 * @property {(session: Session) => void} onPlaying its first picture is there
 * @property {() => void} onBroken what is shown is about to go
 * @property {(state: "connecting" | "down", fault: Fault | null, seconds: number) => void} onState
 * @property {() => boolean} mayReplace whether the screen may be exchanged now
 */

/** How long connecting may take while a picture is awaited: then the next way. */
const PATIENCE_MS = 2000;
/** …and while another way plays. */
const LONG_PATIENCE_MS = 8000;
/** Seconds before each next try when nothing works; the last one repeats. */
const BACKOFF = [1, 2, 4, 8, 15];
/** Seconds until a better way is tried again; the last one repeats. */
const UPGRADES = [10, 30, 60, 300];
/** A way that broke this soon after its first picture does not work. */
const HARDLY_MS = 5000;

/** One way being played. */
export class Session {
  /**
   * @param {Way} way
   * @param {Quality} quality
   * @param {import("./ways.js").Screen} screen
   * @param {boolean} sound
   * @param {AbortController} attempt
   */
  constructor(way, quality, screen, sound, attempt) {
    this.way = way;
    this.quality = quality;
    this.screen = screen;
    this.sound = sound;
    this.attempt = attempt;
    this.began = performance.now();
    /** @type {Deferred<Fault>} */
    this.ended = new Deferred();
    /** @type {import("./ways.js").Playing | null} */
    this.playing = null;
  }

  /** Pictures shown so far, as far as can be told; else a time that runs. */
  async frames() {
    if (this.screen instanceof HTMLVideoElement) {
      // Not `currentTime`: over WebRTC it runs on without pictures.
      return this.screen.getVideoPlaybackQuality?.().totalVideoFrames ?? this.screen.currentTime;
    }
    return (await this.playing?.stats())?.frames ?? 0;
  }

  /** Grows with whatever comes from the gateway, where that can be told. */
  async signs() {
    return (await this.playing?.stats())?.signs ?? 0;
  }

  /** Whether pictures are few because the line is narrow, where that can be told. */
  async isNarrow() {
    return (await this.playing?.isNarrow?.()) ?? false;
  }

  stop() {
    this.attempt.abort(new DOMException("stopped", "AbortError"));
    this.screen.remove();
  }
}

export class Ladder {
  /** @type {Session | null} what is shown */
  session = null;
  #host;
  #run = new AbortController();
  /** @type {Way[]} ways above the one shown that failed */
  #missed = [];
  #upgrades = 0;
  #replacing = false;

  /** @param {Host} host */
  constructor(host) {
    this.#host = host;
    this.#run.abort();
  }

  get isRunning() {
    return !this.#run.signal.aborted;
  }

  start() {
    this.stop();
    this.#run = new AbortController();
    const { signal } = this.#run;
    this.#go(signal).catch((error) => {
      if (!signal.aborted) console.warn("porthole-camera:", error);
    });
  }

  stop() {
    this.#run.abort(new DOMException("stopped", "AbortError"));
    this.session?.stop();
    this.session = null;
  }

  /** Ends what is shown, for the reason given; another try follows.
   * @param {Fault} fault */
  fail(fault) {
    this.session?.ended.resolve(fault);
  }

  /** @param {AbortSignal} signal */
  async #go(signal) {
    const host = this.#host;
    for (let failures = 0; ; ) {
      host.onState("connecting", null, 0);
      const fault = await this.#climb(signal, failures > 0);
      signal.throwIfAborted();
      if (!fault) {
        failures = 0;
        continue;
      }
      const wait = Math.max(BACKOFF[Math.min(failures++, BACKOFF.length - 1)], fault.retryAfter);
      // While the camera is known to be down, asking is no use: whoever hears
      // that it is back starts us anew.
      const off = () => host.listed(host.quality())?.state === "down";
      for (let left = Math.ceil(wait); left > 0 || off(); left -= 1) {
        host.onState("down", fault, off() ? 0 : left);
        await sleep(1000, signal);
      }
    }
  }

  /** Plays the best way there is. Resolves when it broke, with `null`, or with
   *  a fault when none plays.
   * @param {AbortSignal} signal @param {boolean} again */
  async #climb(signal, again) {
    const host = this.#host;
    await host.known(signal);
    const quality = host.quality();
    const { able, reasons, codec } = choose(host.wanted(), host.listed(quality)?.tracks ?? []);
    /** @type {Fault | null} */
    let first = able.length ? null : unplayable(codec, reasons);
    this.#missed = [];
    const begun = await turn(signal);
    const tries = able.flatMap((way) => Array.from({ length: way.tries }, () => way));
    for (const [at, way] of tries.entries()) {
      try {
        if (at > 0 && tries[at - 1] === way) await sleep(1000, signal);
        const patience = again ? LONG_PATIENCE_MS / 2 : PATIENCE_MS;
        const session = await this.#begin(way, quality, patience, signal);
        this.#show(session);
        begun();
        return await this.#stay(signal);
      } catch (error) {
        begun();
        signal.throwIfAborted();
        const fault = error instanceof Fault ? error : unexpected(error);
        // The best way's reason is the one to act on; where only the last resort
        // was left, why all others were out.
        const lastResort = reasons.length > 0 && way === WAYS.mjpeg && codec;
        first ??= lastResort ? unplayable(codec, [...reasons, `${way.name}: ${fault.detail || fault.title}`]) : fault;
        if (!this.#missed.includes(way)) this.#missed.push(way);
        if (!isOfTheWay(fault)) break;
      }
    }
    begun();
    return first;
  }

  /** While something is shown: better ways are tried now and then.
   * @param {AbortSignal} signal */
  async #stay(signal) {
    this.#upgrades = 0;
    for (;;) {
      const session = /** @type {Session} */ (this.session);
      const stay = child(signal);
      this.#climbAgain(stay.signal).catch(() => {});
      signal.addEventListener("abort", () => session.ended.resolve(stopped()), { once: true, signal: stay.signal });
      const fault = await session.ended.promise;
      stay.abort(new DOMException("ended", "AbortError"));
      signal.throwIfAborted();
      if (this.session !== session) continue; // Another one has taken its place.
      this.#host.onBroken();
      session.stop();
      this.session = null;
      // Not "live" while the next way, or the same one, begins.
      this.#host.onState("connecting", null, 0);
      if (performance.now() - session.began < HARDLY_MS) throw fault;
      return null;
    }
  }

  /** Tries the ways that were missed, best first, ever less often.
   * @param {AbortSignal} signal */
  async #climbAgain(signal) {
    while (this.#missed.length) {
      const seconds = UPGRADES[Math.min(this.#upgrades++, UPGRADES.length - 1)];
      const online = once(window, ["online"], seconds * 1000, () => new Error("time"), signal);
      await online.catch(() => signal.throwIfAborted());
      await this.replace(this.#missed);
    }
  }

  /** Exchanges what is shown for the first of `ways` that works.
   * @param {Way[]} ways */
  async replace(ways) {
    const [host, old, { signal }] = [this.#host, this.session, this.#run];
    if (!old || this.#replacing || !host.mayReplace()) return;
    this.#replacing = true;
    try {
      for (const [at, way] of ways.entries()) {
        try {
          const session = await this.#begin(way, host.quality(), LONG_PATIENCE_MS, signal);
          if (this.session !== old || !host.mayReplace()) return session.stop();
          if (ways === this.#missed) this.#missed = ways.slice(0, at);
          this.#show(session);
          old.ended.resolve(stopped());
          old.stop();
          return;
        } catch {
          if (signal.aborted) return;
        }
      }
    } finally {
      this.#replacing = false;
    }
  }

  /** What is wanted has changed: another quality, or sound where a muted viewer
   *  was sent none. */
  async rethink() {
    const { session } = this;
    if (!session) return;
    const deaf = session.way.silentWhenMuted && !session.sound && this.#host.sound();
    if (deaf || session.quality !== this.#host.quality()) await this.replace([session.way]);
  }

  /** @param {Session} session */
  #show(session) {
    this.session = session;
    session.began = performance.now();
    this.#host.onPlaying(session);
  }

  /** Resolves with the first picture.
   * @param {Way} way @param {Quality} quality @param {number} patience @param {AbortSignal} signal */
  async #begin(way, quality, patience, signal) {
    const host = this.#host;
    const attempt = child(signal);
    const screen = document.createElement(way.screen);
    const sound = host.sound();
    const session = new Session(way, quality, screen, sound, attempt);
    host.mount(screen);
    try {
      session.playing = await way.play(screen, {
        url: (path) => host.url(path, quality),
        now: host.now,
        tracks: host.listed(quality)?.tracks ?? [],
        sound,
        patience,
        signal: attempt.signal,
        onEnd: session.ended.resolve,
      });
      if (screen instanceof HTMLVideoElement) {
        await firstPicture(screen, way, session, attempt.signal);
        if (way.stands) await firstMove(screen, way, attempt.signal);
      }
      return session;
    } catch (error) {
      session.stop();
      throw error;
    }
  }
}

/** @param {HTMLVideoElement} video @param {Way} way @param {Session} session @param {AbortSignal} signal */
async function firstPicture(video, way, session, signal) {
  // A power saver may forbid even muted playback until somebody taps; then the
  // first picture comes all the same, and stands.
  video.play().catch(() => {});
  if (video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) return;
  const code = "viewer.no_picture";
  const late = () => new Fault({ code, title: `Connected over ${way.name}, but no picture came.`, retryAfter: 2 });
  const there = once(video, ["loadeddata"], way.firstPictureMs, late, signal);
  const broke = session.ended.promise.then((fault) => Promise.reject(fault));
  broke.catch(() => {}); // It may break later, when nobody waits here any more.
  await Promise.race([there, broke]);
}

/** Resolves once the picture moves, or stands because somebody has to press play.
 * A browser may show the first and buffer long segments before it goes on.
 * @param {HTMLVideoElement} video @param {Way} way @param {AbortSignal} signal */
async function firstMove(video, way, signal) {
  const [began, end] = [video.currentTime, performance.now() + way.firstPictureMs];
  while (!video.paused && video.currentTime === began) {
    const title = `A first picture came over ${way.name}, and stands still.`;
    if (performance.now() > end) throw new Fault({ code: "viewer.no_picture", title, retryAfter: 2 });
    await sleep(50, signal);
  }
}

/** Whether a fault is of one way of playing, not of the stream.
 * @param {Fault} fault */
const isOfTheWay = ({ code }) => !code || code.startsWith("codec.") || (code.startsWith("viewer.") && !PERSONAL.includes(code));

/** Faults of a viewer that no other way can mend. */
const PERSONAL = ["viewer.auth", "viewer.forbidden"];

const stopped = () => new Fault({ code: "stopped", title: "" });

/** @param {unknown} error */
function unexpected(error) {
  console.warn("porthole-camera:", error);
  const title = "This browser could not play the stream.";
  return new Fault({ code: "viewer.failed", title, detail: error instanceof Error ? error.message : "" });
}
