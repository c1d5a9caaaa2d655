// <porthole-camera src="https://gateway/front-door">: one stream, as live as
// this browser can show it. WebRTC, then MSE, then the browser's own HLS, then
// MJPEG, and the reason in words where nothing plays.
//
//   <script type="module" src="https://gateway/porthole.js"></script>
//   <porthole-camera src="https://gateway/front-door" label="Front door"></porthole-camera>
//
// A page of another origin has to be listed in the gateway's `cors`.
//
// Attributes (all may change at any time):
//   src       the stream's URL, with or without its last slash
//   label     what a screen reader calls it; else the stream's name
//   mode      ways to try, in order: `webrtc,mse,hls,mjpeg`; all if absent
//   quality   `main`, `sub`, or `auto` (the default): the substream where the
//             element is no larger than its picture, the main one in full screen
//   controls  `false` hides the buttons
//   muted     `false` begins with sound, where the browser lets a page do so
//   autoplay  `false` waits for the play button
//   token     an embed token, passed on with every request
//
// Properties: `state` (`connecting`, `live`, `down`, `paused`), `way`
// (`WebRTC`, `MSE`, `HLS`, `MJPEG`), `fault` (`code`, `title`, `detail`, `hint`).
// Methods: `start()`, `stop()`, `stats()`, `picture()` (a JPEG of what is shown).
// Events, which bubble: `porthole-state` and `porthole-fault`, whose `detail` has
// these properties.
// CSS parts: `stage`, `message`, `title`, `detail`, `hint`, `badge`, `notice`,
// `bar`, `button`. Slot `controls`: buttons of the page's own in the bar.

import { setIcon } from "./elements.js";
import { build, draw, say, sizeOf } from "./face.js";
import { Fault, narrowLine } from "./fault.js";
import { Ladder } from "./ladder.js";
import { dress } from "./look.js";
import { Source } from "./source.js";
import { WAYS } from "./ways.js";

/** Without a new picture for this long, the stream has stalled. */
const STALL_MS = 2500;
/** …and so long it may have, where the gateway is heard: on a line that has become
 *  narrow it changes over to smaller pictures, or sends key frames alone. A session
 *  opened anew would begin with the large ones again. */
const HEARD_STALL_MS = 12_000;
/** A gateway is heard if something came within this time. Browsers ask it every
 *  2.5 s for a sign of life. */
const HEARD_MS = 3000;
/** While no picture comes, the gateway is asked so often whether the line is narrow. */
const ASK_MS = 2000;
/** A camera that is back gets this long to be seen in the session there is. */
const RETURN_MS = 1500;
/** Out of sight for this long, it is paused. */
const OUT_OF_SIGHT_MS = 700;

/** What has been seen of a session that begins: so many frames, at that time.
 * @param {number} frames @param {number} at */
const nothingSeen = (frames, at) => ({ frames, at, restarted: 0, signs: 0, heard: 0, patient: true, asked: 0, narrow: false });

const NOTICES = /** @type {Record<string, string>} */ ({ "codec.audio_dropped": "No sound over" });

class PortholeCamera extends HTMLElement {
  static observedAttributes = ["src", "mode", "quality", "label", "controls", "token"];

  #root = this.attachShadow({ mode: "open" });
  #parts = build();
  #source = new Source(this, (before) => this.#onListed(before));
  #ladder = new Ladder(this.#host());
  #seen = nothingSeen(0, 0);
  /** @type {Fault | null} */
  #fault = null;
  #poster = "";
  #inSight = true;
  /** The viewer pressed pause, or has not pressed play yet. */
  #held = false;
  #muted = true;
  #retry = 0;
  #notice = "";
  #gone = new AbortController();
  #timers = { tick: 0, sight: 0, size: 0 };

  constructor() {
    super();
    dress(this.#root);
    const { all, again, pause, mute, full } = this.#parts;
    this.#root.append(...all);
    again.onclick = () => this.#press();
    pause.onclick = () => (this.state === "paused" ? this.#press() : this.#hold());
    mute.onclick = () => this.#mute(!this.#muted);
    full.onclick = () => this.#fullscreen();
    this.addEventListener("keydown", (event) => this.#key(event));
  }

  connectedCallback() {
    this.#gone = new AbortController();
    const { signal } = this.#gone;
    this.setAttribute("role", "group");
    this.#label();
    this.#mute(isOn(this, "muted"));
    this.#held = !isOn(this, "autoplay");
    this.#showButtons();
    const sight = new IntersectionObserver(([...entries]) => {
      this.#inSight = entries.at(-1)?.isIntersecting ?? true;
      this.#sightChanged();
    }, { rootMargin: "100px" });
    const size = new ResizeObserver(() => {
      clearTimeout(this.#timers.size);
      this.#timers.size = setTimeout(() => this.#ladder.rethink(), 600);
    });
    sight.observe(this);
    size.observe(this);
    signal.addEventListener("abort", () => (sight.disconnect(), size.disconnect()));
    document.addEventListener("visibilitychange", () => this.#sightChanged(), { signal });
    document.addEventListener("fullscreenchange", () => this.#showButtons(), { signal });
    this.#timers.tick = setInterval(() => this.#tick(), 500);
    this.#source.follow();
    this.start();
  }

  disconnectedCallback() {
    this.#gone.abort();
    Object.values(this.#timers).forEach(clearTimeout);
    this.#source.leave();
    this.stop();
  }

  /** @param {string} name @param {string | null} before @param {string | null} now */
  attributeChangedCallback(name, before, now) {
    if (!this.isConnected || before === now) return;
    if (name === "label") this.#label();
    else if (name === "controls") this.#showButtons();
    else if (name === "quality" && this.#ladder.session) this.#ladder.rethink();
    else {
      this.#source.follow();
      this.start();
    }
  }

  /** @returns {"connecting" | "live" | "down" | "paused"} */
  get state() {
    return /** @type {any} */ (this.dataset.state ?? "connecting");
  }

  get way() {
    return this.#ladder.session?.way.name ?? "";
  }

  get quality() {
    return this.#ladder.session?.quality ?? this.#wantedQuality();
  }

  get fault() {
    return this.state === "live" && !this.hasAttribute("stalled") ? null : this.#told();
  }

  /** Plays from the best way on. */
  start() {
    this.stop();
    if (this.#held) return this.#setState("paused");
    if (this.#isWatched()) this.#ladder.start();
    else this.#setState("paused");
  }

  /** Lets go of the stream; the last picture stays. */
  stop() {
    this.#keepPicture();
    this.#ladder.stop();
  }

  /** What is known of the picture: of the gateway's list, and of the way's own
   *  counters. */
  async stats() {
    const { session } = this.#ladder;
    if (!session?.playing) return null;
    const { screen, way, quality } = session;
    const [width, height] = sizeOf(screen);
    const tracks = this.#source.of(quality)?.tracks ?? [];
    const own = await session.playing.stats();
    const requestTime = this.#source.requestTime();
    return { way: way.name, quality, width, height, tracks, requestTime, ...own, frames: await session.frames() };
  }

  /** The picture shown, as JPEG; `null` without one.
   * @returns {Promise<Blob | null>} */
  picture() {
    const canvas = document.createElement("canvas");
    if (!draw(this.#ladder.session?.screen, canvas)) return Promise.resolve(null);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  }

  // What the ladder needs.

  /** @returns {import("./ladder.js").Host} */
  #host() {
    return {
      url: (path, quality) => this.#source.url(path, quality),
      now: () => this.#source.now(),
      known: (signal) => this.#source.known(signal),
      listed: (quality) => this.#source.of(quality),
      quality: () => this.#wantedQuality(),
      sound: () => !this.#muted,
      wanted: () => (this.getAttribute("mode") ?? "").split(/[\s,]+/).filter((way) => way in WAYS),
      mount: (screen) => this.#mount(screen),
      onPlaying: (session) => this.#onPlaying(session),
      onBroken: () => this.#keepPicture(),
      onState: (state, fault, seconds) => {
        this.#fault = fault;
        this.#retry = seconds;
        this.#setState(state);
      },
      // A picture that fills an iPhone's screen, or floats, is the element's own.
      mayReplace: () => {
        const video = /** @type {any} */ (this.#ladder.session?.screen);
        return !document.hidden && document.pictureInPictureElement !== video && !video?.webkitDisplayingFullscreen;
      },
    };
  }

  /** @returns {"main" | "sub"} */
  #wantedQuality() {
    const wanted = this.getAttribute("quality");
    if (wanted === "main" || wanted === "sub") return wanted;
    const sub = this.#source.of("sub");
    if (!sub || sub.error || document.fullscreenElement === this) return "main";
    const least = sub.tracks.find(({ kind }) => kind === "video")?.width ?? 640;
    // A quarter more is not seen; and a little slack, not to change to and fro.
    const slack = this.#ladder.session?.quality === "sub" ? 1.35 : 1.2;
    return this.clientWidth * devicePixelRatio <= least * slack ? "sub" : "main";
  }

  /** The gateway lists the stream; before, it listed another.
   * @param {(quality: "main" | "sub") => import("./streams.js").Quality | undefined} earlier */
  #onListed(earlier) {
    const { quality } = this;
    const codecs = (/** @type {import("./streams.js").Quality | undefined} */ listed) =>
      listed?.tracks.map(({ rfc6381, codec }) => rfc6381 ?? codec).join();
    const [before, coded] = [earlier(quality)?.state, codecs(earlier(quality))];
    const now = this.#source.of(quality)?.state;
    // Back, or with something else to play: no need to wait for the next try.
    const returned = before === "down" && now !== "down";
    if (this.state === "down" && (returned || (coded && coded !== codecs(this.#source.of(quality))))) return this.start();
    // Back, and seen at once where the session lived on; else anew.
    if (before && before !== "live" && now === "live") {
      this.#seen.at = performance.now() - this.#stallMs() + RETURN_MS;
      this.#seen.patient = false;
    }
    this.#show();
  }

  // What is shown.

  /** @param {HTMLElement} screen */
  #mount(screen) {
    if (screen instanceof HTMLVideoElement) {
      Object.assign(screen, { autoplay: true, playsInline: true, muted: true });
      screen.addEventListener("click", () => screen.paused && this.#press());
      screen.addEventListener("playing", () => this.#show());
    }
    screen.setAttribute("aria-hidden", "true");
    this.#parts.stage.append(screen);
  }

  /** @param {import("./ladder.js").Session} session */
  #onPlaying({ screen, way, playing }) {
    for (const other of this.#parts.stage.children) other.classList.toggle("shown", other === screen);
    screen.removeAttribute("aria-hidden");
    screen.setAttribute("role", "img");
    screen.setAttribute("aria-label", `Live picture of ${this.#called()}`);
    const [word] = [NOTICES[playing?.notice ?? ""]];
    this.#notice = word ? `${word} ${way.name}` : "";
    this.#fault = null;
    this.#seen = nothingSeen(-1, performance.now());
    this.dataset.way = way.name;
    this.#mute(this.#muted);
    this.#setState("live");
    this.#parts.still.hidden = true;
  }

  #setState(/** @type {"connecting" | "live" | "down" | "paused"} */ state) {
    const changed = this.state !== state || this.dataset.state === undefined;
    this.dataset.state = state;
    this.#show();
    if (changed && state === "connecting") this.#showPoster();
    if (!changed) return;
    const { way, quality, fault } = this;
    const detail = { state, way, quality, fault };
    this.dispatchEvent(new CustomEvent("porthole-state", { detail, bubbles: true, composed: true }));
    if (state === "down") this.dispatchEvent(new CustomEvent("porthole-fault", { detail: fault, bubbles: true, composed: true }));
  }

  /** The newest still, until there is a moving picture. */
  #showPoster() {
    const { still } = this.#parts;
    const url = this.#source.url("snapshot.jpg", this.#wantedQuality());
    if (!still.hidden || this.#ladder.session || this.#poster === url.href) return;
    this.#poster = url.href;
    const poster = new Image();
    url.searchParams.set("width", String(Math.ceil((this.clientWidth * devicePixelRatio) / 160) * 160 || 640));
    if (url.origin !== location.origin) poster.crossOrigin = "anonymous";
    poster.onload = () => {
      if (still.hidden && this.state === "connecting") still.hidden = !draw(poster, still);
    };
    // Connecting comes first; and without a poster (an H.265 camera, an old
    // gateway) the screen stays dark.
    poster.fetchPriority = "low";
    poster.src = url.href;
  }

  /** Keeps what is shown as a still, until there is a moving picture again. */
  #keepPicture() {
    const { still } = this.#parts;
    if (draw(this.#ladder.session?.screen, still)) still.hidden = false;
  }

  #show() {
    const { state, way } = this;
    // What HLS has in hand plays on; any other picture of a camera that is gone
    // is of the past, also where it moves.
    const listed = this.#source.of(this.quality);
    const gone = way !== WAYS.hls.name && listed?.state !== "live" && !!listed?.error;
    const stalled = state === "live" && (gone || this.#hasStalled());
    this.toggleAttribute("stalled", stalled);
    const video = this.#ladder.session?.screen;
    const waits = state === "live" && video instanceof HTMLVideoElement && video.paused;
    const told = state === "down" || stalled ? this.#told() : null;
    say(this.#parts, { state, way, stalled, waits, told, notice: this.#notice, retry: this.#retry });
  }

  /** Why there is no picture, in the words nearest to the cause.
   * @returns {import("./fault.js").Told | null} */
  #told() {
    const silent = { title: "The camera sends no new pictures.", hint: "It may be restarting." };
    const stalled = this.#seen.narrow ? narrowLine() : silent;
    return this.#source.of(this.quality)?.error ?? this.#fault ?? (this.hasAttribute("stalled") ? stalled : null);
  }

  // Whether pictures come.

  #stallMs() {
    const { session } = this.#ladder;
    const video = this.#source.of(this.quality)?.tracks.find(({ kind }) => kind === "video");
    return session?.way.stallMs?.(video) ?? STALL_MS;
  }

  #hasStalled() {
    return performance.now() - this.#seen.at > this.#stallMs();
  }

  async #tick() {
    const { session } = this.#ladder;
    if (this.state !== "live" || !session) return this.#show();
    const frames = await session.frames();
    // Asked for only where pictures fail to come.
    const signs = frames === this.#seen.frames ? await session.signs() : this.#seen.signs;
    const now = performance.now();
    if (session !== this.#ladder.session) return;
    const idle = session.screen instanceof HTMLVideoElement && (session.screen.paused || document.hidden);
    if (frames !== this.#seen.frames || idle) {
      this.#seen.frames = frames;
      this.#seen.at = now;
      Object.assign(this.#seen, { patient: true, narrow: false });
    }
    if (signs !== this.#seen.signs) Object.assign(this.#seen, { signs, heard: now });
    if (this.#hasStalled() && now - this.#seen.asked > ASK_MS) {
      this.#seen.asked = now;
      this.#seen.narrow = await session.isNarrow();
      if (session !== this.#ladder.session) return;
    }
    this.#show();
    if (!this.#hasStalled()) return;
    this.#source.askNow();
    // The camera sends, and we see nothing: the way is to blame.
    const listed = this.#source.of(session.quality);
    const sends = !listed || listed.state === "live";
    const heard = this.#seen.patient && now - this.#seen.heard < HEARD_MS;
    if (heard && now - this.#seen.at < HEARD_STALL_MS) return;
    if (sends && now - this.#seen.restarted > 5000) {
      this.#seen.restarted = now;
      this.#keepPicture();
      this.#ladder.fail(new Fault({ code: "viewer.stalled", title: "No new picture came.", retryAfter: 0 }));
    }
  }

  // Whether anybody looks.

  #isWatched() {
    const { session } = this.#ladder;
    if (session && document.pictureInPictureElement === session.screen) return true;
    return this.#inSight && !document.hidden;
  }

  #sightChanged() {
    clearTimeout(this.#timers.sight);
    if (this.#held || !this.isConnected) return;
    if (this.#isWatched()) {
      if (!this.#ladder.isRunning) this.start();
      return;
    }
    this.#timers.sight = setTimeout(() => {
      if (this.#isWatched()) return;
      this.stop();
      this.#setState("paused");
    }, OUT_OF_SIGHT_MS);
  }

  // What the viewer does.

  #press() {
    this.#held = false;
    const { session } = this.#ladder;
    if (this.state === "live" && session?.screen instanceof HTMLVideoElement) session.screen.play().catch(() => {});
    else this.start();
  }

  #hold() {
    this.#held = true;
    this.stop();
    this.#setState("paused");
  }

  #mute(/** @type {boolean} */ muted) {
    this.#muted = muted;
    this.#ladder.rethink();
    const video = this.#ladder.session?.screen;
    if (video instanceof HTMLVideoElement) {
      video.muted = muted;
      // Sound without a gesture may be forbidden: then the picture comes first.
      if (!muted) video.play().catch(() => (this.#mute(true), video.play().catch(() => {})));
    }
    const { mute } = this.#parts;
    setIcon(mute, muted ? "muted" : "sound", muted ? "Unmute" : "Mute");
    mute.setAttribute("aria-pressed", String(!muted));
  }

  #fullscreen() {
    const video = /** @type {any} */ (this.#ladder.session?.screen);
    if (document.fullscreenElement) document.exitFullscreen();
    else if (this.requestFullscreen) this.requestFullscreen().catch(() => {});
    else video?.webkitEnterFullscreen?.(); // iPhone: only a video may.
  }

  #key(/** @type {KeyboardEvent} */ event) {
    if (event.altKey || event.ctrlKey || event.metaKey || !isOn(this, "controls")) return;
    const { pause, mute, full } = this.#parts;
    const pressed = { k: pause, m: mute, f: full }[event.key];
    if (!pressed || pressed.hidden) return;
    event.preventDefault();
    pressed.click();
  }

  #called() {
    return this.getAttribute("label") || this.#source.name || "the camera";
  }

  #label() {
    this.setAttribute("aria-label", `Camera ${this.#called()}`);
  }

  #showButtons() {
    const { bar, full } = this.#parts;
    bar.hidden = !isOn(this, "controls");
    const can = "requestFullscreen" in this || "webkitEnterFullscreen" in HTMLVideoElement.prototype;
    full.hidden = !can;
    const filled = document.fullscreenElement === this;
    setIcon(full, filled ? "small" : "full", filled ? "Leave full screen" : "Full screen");
  }
}

/** Whether an attribute that is on by default is on.
 * @param {Element} of @param {string} name */
const isOn = (of, name) => !/^(false|0|no|off)$/i.test(of.getAttribute(name) ?? "");

customElements.define("porthole-camera", PortholeCamera);
