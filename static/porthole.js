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

import { button, element, setIcon, setText } from "./elements.js";
import { Fault } from "./fault.js";
import { Ladder } from "./ladder.js";
import { dress } from "./look.js";
import { askNow, follow, gatewayTime } from "./streams.js";
import { WAYS } from "./ways.js";

/** Without a new picture for this long, the stream has stalled. */
const STALL_MS = 2500;
/** A camera that is back gets this long to be seen in the session there is. */
const RETURN_MS = 1500;
/** Out of sight for this long, it is paused. */
const OUT_OF_SIGHT_MS = 700;
/** Without the gateway's list for this long, it begins without. */
const LIST_MS = 1500;

const NOTICES = /** @type {Record<string, string>} */ ({ "codec.audio_dropped": "No sound over" });

class PortholeCamera extends HTMLElement {
  static observedAttributes = ["src", "mode", "quality", "label", "controls", "token"];

  #root = this.attachShadow({ mode: "open" });
  #parts = build();
  #ladder = new Ladder(this.#host());
  #seen = { frames: 0, at: 0, restarted: 0 };
  /** @type {Fault | null} */
  #fault = null;
  /** @type {import("./streams.js").Stream | undefined} */
  #stream;
  #asked = { list: false, poster: "" };
  #inSight = true;
  /** The viewer pressed pause, or has not pressed play yet. */
  #held = false;
  #muted = true;
  #retry = 0;
  #notice = "";
  #gone = new AbortController();
  #timers = { tick: 0, sight: 0, size: 0 };
  #unfollow = () => {};

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
    this.#follow();
    this.start();
  }

  disconnectedCallback() {
    this.#gone.abort();
    Object.values(this.#timers).forEach(clearTimeout);
    this.#unfollow();
    this.stop();
  }

  /** @param {string} name @param {string | null} before @param {string | null} now */
  attributeChangedCallback(name, before, now) {
    if (!this.isConnected || before === now) return;
    if (name === "label") this.#label();
    else if (name === "controls") this.#showButtons();
    else if (name === "quality" && this.#ladder.session) this.#ladder.rethink();
    else {
      this.#stream = undefined;
      this.#follow();
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
    const tracks = this.#listed(quality)?.tracks ?? [];
    const own = await session.playing.stats();
    return { way: way.name, quality, width, height, tracks, ...own, frames: await session.frames() };
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
      url: (path, quality) => this.#url(path, quality),
      now: () => gatewayTime(this.#listUrl()),
      known: (signal) => this.#known(signal),
      listed: (quality) => this.#listed(quality),
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

  #base() {
    const base = new URL(this.getAttribute("src") ?? "./", document.baseURI);
    // `…/front-door` is the same stream as `…/front-door/`.
    if (!base.pathname.endsWith("/")) base.pathname += "/";
    base.search = base.hash = "";
    return base;
  }

  /** @param {string} path @param {"main" | "sub"} quality */
  #url(path, quality) {
    const url = new URL(path, this.#base());
    if (quality === "sub") url.searchParams.set("quality", "sub");
    const token = this.getAttribute("token");
    if (token) url.searchParams.set("token", token);
    return url;
  }

  #listUrl() {
    return this.#url("../api/streams", "main");
  }

  #name() {
    return decodeURIComponent(this.#base().pathname.split("/").filter(Boolean).at(-1) ?? "");
  }

  #follow() {
    this.#unfollow();
    this.#asked.list = false;
    const name = this.#name();
    const onStreams = (/** @type {import("./streams.js").Stream[]} */ streams) => {
      this.#asked.list = true;
      this.#onListed(streams.find((stream) => stream.name === name));
    };
    this.#unfollow = follow(this.#listUrl(), onStreams, () => (this.#asked.list = true));
  }

  /** @param {AbortSignal} signal */
  async #known(signal) {
    for (const end = performance.now() + LIST_MS; !this.#asked.list && performance.now() < end; ) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      signal.throwIfAborted();
    }
  }

  /** @param {"main" | "sub"} quality */
  #listed(quality) {
    return quality === "sub" ? this.#stream?.substream : this.#stream;
  }

  /** @returns {"main" | "sub"} */
  #wantedQuality() {
    const wanted = this.getAttribute("quality");
    if (wanted === "main" || wanted === "sub") return wanted;
    const sub = this.#stream?.substream;
    if (!sub || sub.error || document.fullscreenElement === this) return "main";
    const least = sub.tracks.find(({ kind }) => kind === "video")?.width ?? 640;
    // A quarter more is not seen; and a little slack, not to change to and fro.
    const slack = this.#ladder.session?.quality === "sub" ? 1.35 : 1.2;
    return this.clientWidth * devicePixelRatio <= least * slack ? "sub" : "main";
  }

  /** The stream as the gateway lists it.
   * @param {import("./streams.js").Stream | undefined} stream */
  #onListed(stream) {
    const { quality } = this;
    const codecs = () => this.#listed(quality)?.tracks.map(({ rfc6381, codec }) => rfc6381 ?? codec).join();
    const [before, coded] = [this.#listed(quality)?.state, codecs()];
    this.#stream = stream;
    const now = this.#listed(quality)?.state;
    // Back, or with something else to play: no need to wait for the next try.
    const returned = before === "down" && now !== "down";
    if (this.state === "down" && (returned || (coded && coded !== codecs()))) return this.start();
    // Back, and seen at once where the session lived on; else anew.
    if (before && before !== "live" && now === "live") this.#seen.at = performance.now() - this.#stallMs() + RETURN_MS;
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
    this.#seen = { frames: -1, at: performance.now(), restarted: 0 };
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
    const url = this.#url("snapshot.jpg", this.#wantedQuality());
    if (!still.hidden || this.#ladder.session || this.#asked.poster === url.href) return;
    this.#asked.poster = url.href;
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
    const { state } = this;
    const { badge, message, title, detail, hint, retry, again, notice } = this.#parts;
    const stalled = state === "live" && this.#hasStalled();
    this.toggleAttribute("stalled", stalled);
    const words = { connecting: "Connecting", live: `Live · ${this.way}`, down: "No picture", paused: "Paused" };
    setText(badge, stalled ? "No new picture" : words[state]);
    setText(notice, state === "live" ? this.#notice : "");
    const video = this.#ladder.session?.screen;
    const waits = state === "live" && video instanceof HTMLVideoElement && video.paused;
    const told = state === "down" || stalled ? this.#told() : null;
    const said = { connecting: "Connecting…", live: waits ? "This browser waits for you to start the picture." : "" };
    setText(title, told?.title ?? /** @type {any} */ (said)[state] ?? "");
    setText(detail, told?.detail ?? "");
    setText(hint, told?.hint ?? "");
    const due = told?.next_retry ? Math.ceil((Date.parse(told.next_retry) - Date.now()) / 1000) : 0;
    setText(retry, due > 0 ? `The gateway tries again in ${due} s.` : this.#retry && told ? `Next try in ${this.#retry} s.` : "");
    // Forty tiles that connect are not to be read out; a fault is.
    message.setAttribute("aria-live", told ? "polite" : "off");
    again.hidden = state === "connecting" || (state === "live" && !waits);
    setText(again, state === "paused" || waits ? "Play" : "Try again");
    message.hidden = !title.textContent && again.hidden;
    setIcon(this.#parts.pause, state === "paused" ? "play" : "pause", state === "paused" ? "Play" : "Pause");
  }

  /** Why there is no picture, in the words nearest to the cause.
   * @returns {import("./fault.js").Told | null} */
  #told() {
    const stalled = { title: "The camera sends no new pictures.", hint: "It may be restarting." };
    return this.#listed(this.quality)?.error ?? this.#fault ?? (this.hasAttribute("stalled") ? stalled : null);
  }

  // Whether pictures come.

  #stallMs() {
    const { session } = this.#ladder;
    const video = this.#listed(this.quality)?.tracks.find(({ kind }) => kind === "video");
    return session?.way.stallMs?.(video) ?? STALL_MS;
  }

  #hasStalled() {
    return performance.now() - this.#seen.at > this.#stallMs();
  }

  async #tick() {
    const { session } = this.#ladder;
    if (this.state !== "live" || !session) return this.#show();
    const [frames, now] = [await session.frames(), performance.now()];
    if (session !== this.#ladder.session) return;
    const idle = session.screen instanceof HTMLVideoElement && (session.screen.paused || document.hidden);
    if (frames !== this.#seen.frames || idle) {
      this.#seen.frames = frames;
      this.#seen.at = now;
    }
    this.#show();
    if (!this.#hasStalled()) return;
    askNow(this.#listUrl());
    // The camera sends, and we see nothing: the way is to blame.
    const listed = this.#listed(session.quality);
    const sends = !this.#stream || listed?.state === "live";
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
    return this.getAttribute("label") || this.#name() || "the camera";
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

/** @param {CanvasImageSource & Element} screen @returns {[number, number]} */
function sizeOf(screen) {
  if (screen instanceof HTMLVideoElement) return [screen.videoWidth, screen.videoHeight];
  if (screen instanceof HTMLImageElement) return [screen.naturalWidth, screen.naturalHeight];
  return [/** @type {any} */ (screen).width, /** @type {any} */ (screen).height];
}

/** Draws what `screen` shows; whether there was anything.
 * @param {any} screen @param {HTMLCanvasElement} canvas */
function draw(screen, canvas) {
  const [width, height] = screen ? sizeOf(screen) : [0, 0];
  if (!width || !height || (screen instanceof HTMLVideoElement && screen.readyState < 2)) return false;
  Object.assign(canvas, { width, height });
  canvas.getContext("2d")?.drawImage(screen, 0, 0);
  return true;
}

function build() {
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

customElements.define("porthole-camera", PortholeCamera);
