// <porthole-camera src="front-door">: one stream, as live as this browser can
// show it. WebRTC first, HLS where that fails, and the reason in words.
// `quality="sub"` shows the camera's smaller stream.

import { Fault } from "./fault.js";
import { canPlayHls, catchUp, playHls } from "./nativehls.js";
import { button, element, setIcon } from "./elements.js";
import { playWhep } from "./whep.js";

/** Seconds before each next try; the last one repeats. */
const BACKOFF = [1, 2, 4, 8, 15];

/** Without a new picture for this long, the stream has stalled. */
const STALL_MS = 4000;

const WAYS = {
  webrtc: { name: "WebRTC", path: "whep", play: playWhep },
  hls: { name: "HLS", path: "index.m3u8", play: playHls },
};

/** Faults of one way of playing, not of the stream: try the next way. */
const tryNextWay = ({ code }) => code.startsWith("codec.") || code.startsWith("viewer.");

class PortholeCamera extends HTMLElement {
  #video;
  #overlay;
  #badge;
  #mute;
  #notice;
  #run = null;
  #failures = 0;
  #seen = { frames: 0, at: 0 };
  #fault = null;
  #status = null;

  connectedCallback() {
    if (!this.#video) this.#build();
    this.start();
  }

  disconnectedCallback() {
    this.stop();
  }

  /** `connecting`, `live` or `down`; for pages and tests. */
  get state() {
    return this.dataset.state;
  }

  /** The stream as `api/streams` lists it: a page that polls hands it in, so
   *  that a stalled picture says what its camera's fault is. */
  set status(status) {
    const returned = this.#status?.state === "down" && status?.state !== "down";
    this.#status = status;
    if (returned && this.state === "down") this.start();
    else if (this.state === "down" || this.#stalled()) this.#show(this.state);
  }

  /** Plays from the first way on, without delay. */
  start() {
    this.stop();
    const run = (this.#run = new AbortController());
    this.#play(run.signal).catch((error) => {
      if (!run.signal.aborted) throw error;
    });
  }

  stop() {
    this.#run?.abort(new DOMException("stopped", "AbortError"));
    this.#run = null;
  }

  async #play(signal) {
    const wanted = this.getAttribute("mode")?.split(/[\s,]+/).filter((way) => way in WAYS);
    const ways = wanted?.length ? wanted : Object.keys(WAYS);
    this.#show("connecting");
    for (let way = 0, reason = null; ; ) {
      try {
        await this.#playOneWay(WAYS[ways[way]], signal);
        continue; // It played a while, and broke: the same way again.
      } catch (error) {
        signal.throwIfAborted();
        const fault = error instanceof Fault ? error : unexpected(error);
        const next = ways[way + 1];
        if (next && tryNextWay(fault) && (next !== "hls" || canPlayHls(this.#video))) {
          reason ??= fault;
          way += 1;
          continue;
        }
        // Both ways failed: the first way's reason is the one to act on.
        this.#fault = reason ?? fault;
        [way, reason] = [0, null];
      }
      const wait = BACKOFF[Math.min(this.#failures++, BACKOFF.length - 1)];
      await this.#countDown(Math.max(wait, this.#fault.retryAfter), signal);
      this.#show("connecting");
    }
  }

  /** Resolves when a stream that played has ended; throws if it hardly did. */
  async #playOneWay(way, signal) {
    const attempt = new AbortController();
    const both = AbortSignal.any([signal, attempt.signal]);
    const base = new URL(this.getAttribute("src") ?? "./", document.baseURI);
    // `…/front-door` is the same stream as `…/front-door/`.
    if (!base.pathname.endsWith("/")) base.pathname += "/";
    const url = new URL(way.path, base);
    const quality = this.getAttribute("quality");
    if (quality) url.searchParams.set("quality", quality);
    const ended = deferred();
    try {
      const { notice } = await way.play(url.href, this.#video, both, ended.resolve);
      this.#start();
      await this.#firstPicture(way, both);
      this.#failures = 0;
      this.#fault = null;
      this.dataset.way = way.name;
      this.#notice.textContent =
        notice === "codec.audio_dropped" ? "No sound over WebRTC" : "";
      this.#show("live");
      signal.addEventListener("abort", () => ended.resolve(signal.reason), { once: true });
      const timer = setInterval(() => this.#tick(), 500);
      const began = performance.now();
      const fault = await ended.promise.finally(() => clearInterval(timer));
      if (performance.now() - began < 5000) throw fault;
      this.#show("connecting");
    } finally {
      attempt.abort(new DOMException("ended", "AbortError"));
      this.#video.srcObject = null;
    }
    signal.throwIfAborted();
  }

  #start() {
    // A power saver may forbid even muted playback until somebody taps.
    this.#video.play().catch(() => {});
  }

  #firstPicture(way, signal) {
    const video = this.#video;
    if (video.videoWidth && video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) return;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        const known = this.#status?.error;
        const title = `Connected over ${way.name}, but no picture came.`;
        reject(new Fault(known ? { ...known } : { title, code: "viewer.no_picture" }));
      }, 8000);
      const settle = (how) => () => (clearTimeout(timer), how());
      video.addEventListener("loadeddata", settle(resolve), { once: true, signal });
      signal.addEventListener("abort", settle(() => reject(signal.reason)), { once: true });
    });
  }

  #tick() {
    const video = this.#video;
    // Not `currentTime`: over WebRTC it runs on without pictures.
    const frames = video.getVideoPlaybackQuality?.().totalVideoFrames ?? video.currentTime;
    const now = performance.now();
    if (frames !== this.#seen.frames || video.paused || document.hidden) {
      this.#seen = { frames, at: now };
    }
    this.#show("live");
  }

  #stalled() {
    return this.state === "live" && performance.now() - this.#seen.at > STALL_MS;
  }

  #show(state) {
    if (state !== this.dataset.state) this.#seen.at = performance.now();
    this.dataset.state = state;
    const stalled = this.#stalled();
    this.toggleAttribute("stalled", stalled);
    const words = { connecting: "Connecting", live: `Live · ${this.dataset.way}`, down: "No picture" };
    setText(this.#badge, stalled ? "No new picture" : words[state]);
    const paused = state === "live" && this.#video.paused;
    if (state === "connecting") this.#message("Connecting…", "", "");
    else if (paused) this.#message("This browser waits for you to start the picture.", "", "");
    else if (state === "live" && !stalled) this.#message("", "", "");
    else {
      // What the camera's supervisor says is nearer to the cause.
      const told = this.#status?.error ?? this.#fault;
      const title = told?.title ?? "The camera sends no new pictures.";
      const due = told?.next_retry ? (Date.parse(told.next_retry) - Date.now()) / 1000 : 0;
      const retry = due > 1 ? `The gateway tries again in ${Math.ceil(due)} s.` : "";
      this.#message(title, told?.detail ?? "", [told?.hint, retry].filter(Boolean).join(" "));
    }
    const { again } = this.#overlay;
    again.hidden = state !== "down" && !paused;
    if (paused) setText(again, "Play");
  }

  #message(title, detail, hint) {
    setText(this.#overlay.title, title);
    setText(this.#overlay.detail, detail);
    setText(this.#overlay.hint, hint);
    this.#overlay.box.hidden = title === "";
  }

  async #countDown(seconds, signal) {
    const { again } = this.#overlay;
    // While the page is told that the camera is down, asking is no use:
    // `status` starts us when it is back.
    const off = () => this.#status?.state === "down";
    for (let left = Math.ceil(seconds); left > 0 || off(); left -= document.hidden ? 0 : 1) {
      this.#show("down");
      setText(again, off() ? "Try again" : `Try again (${Math.max(left, 0)} s)`);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, 1000);
        signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
      });
      signal.throwIfAborted();
    }
  }

  #build() {
    const name = this.getAttribute("label") ?? "camera";
    this.#video = element("video", { muted: true, autoplay: true, playsInline: true });
    this.#video.setAttribute("aria-label", `Live picture of ${name}`);
    this.#video.addEventListener("click", () => this.#video.paused && this.#start());
    this.#video.addEventListener("playing", () => this.state === "live" && this.#show("live"));
    document.addEventListener("visibilitychange", () => document.hidden || catchUp(this.#video));

    const part = (kind, className) => element(kind, { className });
    this.#overlay = {
      box: part("div", "message"),
      title: part("p", "title"),
      detail: part("p", "detail"),
      hint: part("p", "hint"),
      again: button("Try again", () => (this.state === "live" ? this.#start() : this.start())),
    };
    const { box, title, detail, hint, again } = this.#overlay;
    box.setAttribute("role", "status");
    box.append(part("span", "spinner"), title, detail, hint, again);

    this.#badge = part("span", "badge");
    this.#notice = part("span", "notice");
    this.#mute = button("", () => this.#setMuted(!this.#video.muted));
    const full = button("", () => this.#fullscreen());
    setIcon(full, "full", `Full screen, ${name}`);
    full.hidden = !this.requestFullscreen && !this.#video.webkitEnterFullscreen;
    this.#setMuted(true);
    const bar = part("div", "bar");
    bar.append(this.#notice, this.#mute, full);
    this.append(this.#video, box, this.#badge, bar);
  }

  #setMuted(muted) {
    this.#video.muted = muted;
    setIcon(this.#mute, muted ? "muted" : "sound", muted ? "Unmute" : "Mute");
    this.#mute.setAttribute("aria-pressed", String(!muted));
    if (!muted) this.#start();
  }

  #fullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (this.requestFullscreen) this.requestFullscreen();
    else this.#video.webkitEnterFullscreen(); // iPhone: only a video may.
  }
}

function unexpected(error) {
  console.warn("porthole-camera:", error);
  const title = "This browser could not play the stream.";
  return new Fault({ code: "viewer.failed", title, detail: error?.message ?? "" });
}

function deferred() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}

/** Sets text only when it differs: `role=status` reads out every change. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

customElements.define("porthole-camera", PortholeCamera);
