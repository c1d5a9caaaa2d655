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
/** Runs dry more than once within this time for one and the same reason: a player
 *  goes on with the first picture that comes, and waits for each of the next ones. */
const SPELL_MS = 1000;
/** What was not touched for so long is not needed: half of it is given back. */
const CALM_MS = 4000;

/** How much faster than life a player runs that is behind by so many seconds; a
 *  little is left alone, since a change of speed is heard. */
const hurry = (/** @type {number} */ much) => (much > 0.5 ? 1.5 : much > 0.15 ? 1.15 : much > 0.04 ? 1.05 : 1);

export class Edge {
  #video;
  #least = LEAST_BEHIND;
  #aim = LEAST_BEHIND;
  #timer = 0;
  #calm = performance.now();
  /** The least that was in hand since, in seconds. */
  #spare = Infinity;
  #dry = -SPELL_MS;
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
    if (this.#video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
    this.#watchAnew();
    if (performance.now() - this.#dry < SPELL_MS) return;
    this.#dry = performance.now();
    this.#aim = Math.min(this.#aim * 1.25 + 0.02, MOST_BEHIND);
  }

  #watchAnew() {
    this.#calm = performance.now();
    this.#spare = Infinity;
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
    this.#spare = Math.min(this.#spare, behind);
    if (performance.now() - this.#calm > CALM_MS) {
      // On a line with gusts the least in hand is next to nothing, and all is kept.
      const unused = Math.max(0, Math.min(this.#spare, this.#aim) - this.#least);
      this.#aim -= unused / 2;
      this.#watchAnew();
    }
    if (video.paused && video.autoplay) video.play().catch(() => {});
  }
}
