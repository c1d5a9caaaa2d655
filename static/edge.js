// Keeps a media element at the live edge of what is buffered.

/** Seconds behind the edge that are aimed at, at least: two or three pictures. */
const LEAST_BEHIND = 0.08;
/** The same where there is sound, of which Chromium wants this much in hand. */
const LEAST_BEHIND_SOUND = 0.2;
/** …and at most, on a line where data comes in gusts. */
const MOST_BEHIND = 1.5;
/** Farther behind than aimed at by this, the player jumps rather than hurries… */
const JUMP = 1;
/** …and sooner in its first seconds, which show the past in any case. */
const EARLY_JUMP = 0.3;
const EARLY_MS = 1500;

/** How much faster than life a player runs that is behind by so many seconds; a
 *  little is left alone, since a change of speed is heard. */
const hurry = (/** @type {number} */ much) => (much > 0.5 ? 1.5 : much > 0.15 ? 1.15 : much > 0.04 ? 1.05 : 1);

export class Edge {
  #video;
  #least = LEAST_BEHIND;
  #aim = LEAST_BEHIND;
  #timer = 0;
  #calm = performance.now();
  #began = performance.now();
  #stop = new AbortController();

  /** @param {HTMLVideoElement} video */
  constructor(video) {
    this.#video = video;
    const { signal } = this.#stop;
    // It ran dry: the line needs more in hand.
    video.addEventListener("waiting", () => this.#ranDry(), { signal });
    this.#timer = setInterval(() => this.look(), 100);
  }

  /** What comes has sound.
   * @param {boolean} sound */
  set sound(sound) {
    this.#least = sound ? LEAST_BEHIND_SOUND : LEAST_BEHIND;
    this.#aim = Math.max(this.#aim, this.#least);
  }

  stop() {
    clearInterval(this.#timer);
    this.#stop.abort();
    this.#video.playbackRate = 1;
  }

  #ranDry() {
    if (this.#video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) {
      this.#aim = Math.min(this.#aim * 1.25 + 0.02, MOST_BEHIND);
      this.#calm = performance.now();
    }
  }

  /** Data has come, or time has passed. */
  look() {
    const video = this.#video;
    const { buffered } = video;
    if (!buffered.length || video.seeking) return;
    const last = buffered.length - 1;
    const [start, end] = [buffered.start(last), buffered.end(last)];
    const behind = end - video.currentTime;
    // Also out of a hole between two ranges, and from before the first picture.
    const outside = video.currentTime < start || behind < -1;
    const jump = performance.now() - this.#began < EARLY_MS ? EARLY_JUMP : JUMP;
    if (outside || behind > this.#aim + jump) {
      video.currentTime = Math.max(start, end - this.#aim);
      return;
    }
    const rate = hurry(behind - this.#aim);
    if (video.playbackRate !== rate) video.playbackRate = rate;
    // What a calm minute shows not to be needed is given back.
    if (performance.now() - this.#calm > 10_000 && this.#aim > this.#least) {
      this.#aim = Math.max(this.#least, this.#aim * 0.8);
      this.#calm = performance.now();
    }
    if (video.paused && video.autoplay) video.play().catch(() => {});
  }
}
