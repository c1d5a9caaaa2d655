// The stream behind an element: its URLs, and what the gateway lists of it.

import { askNow, follow, gatewayTime, requestTime } from "./streams.js";

/**
 * @typedef {import("./streams.js").Quality} Listed
 * @typedef {"main" | "sub"} Quality
 */

/** Without the gateway's list for this long, a player begins without. */
const LIST_MS = 1500;

export class Source {
  /** @type {import("./streams.js").Stream | undefined} */
  #stream;
  #asked = false;
  #unfollow = () => {};

  /**
   * @param {HTMLElement} element with `src` and `token`
   * @param {(before: (quality: Quality) => Listed | undefined) => void} onListed
   */
  constructor(element, onListed) {
    this.element = element;
    this.onListed = onListed;
  }

  get #base() {
    const base = new URL(this.element.getAttribute("src") ?? "./", document.baseURI);
    // `…/front-door` is the same stream as `…/front-door/`.
    if (!base.pathname.endsWith("/")) base.pathname += "/";
    base.search = base.hash = "";
    return base;
  }

  get #listUrl() {
    return this.url("../api/streams", "main");
  }

  /** As the last part of its URL has it. */
  get name() {
    return decodeURIComponent(this.#base.pathname.split("/").filter(Boolean).at(-1) ?? "");
  }

  /** @param {string} path below the stream's own @param {Quality} quality */
  url(path, quality) {
    const url = new URL(path, this.#base);
    if (quality === "sub") url.searchParams.set("quality", "sub");
    const token = this.element.getAttribute("token");
    if (token) url.searchParams.set("token", token);
    return url;
  }

  /** As the gateway lists it now; `undefined` where it does not.
   * @param {Quality} quality @returns {Listed | undefined} */
  of(quality) {
    return quality === "sub" ? this.#stream?.substream : this.#stream;
  }

  /** The gateway's time, Unix milliseconds. */
  now() {
    return gatewayTime(this.#listUrl);
  }

  /** Milliseconds a request to the gateway takes. */
  requestTime() {
    return requestTime(this.#listUrl);
  }

  /** Something has just happened: the list may tell what. */
  askNow() {
    askNow(this.#listUrl);
  }

  /** Begins to follow the list, of the gateway that is named now. */
  follow() {
    this.leave();
    const { name } = this;
    const onStreams = (/** @type {import("./streams.js").Stream[]} */ streams) => {
      const old = this.#stream;
      this.#asked = true;
      this.#stream = streams.find((stream) => stream.name === name);
      this.onListed((quality) => (quality === "sub" ? old?.substream : old));
    };
    this.#unfollow = follow(this.#listUrl, onStreams, () => (this.#asked = true));
  }

  leave() {
    this.#unfollow();
    this.#asked = false;
    this.#stream = undefined;
  }

  /** Resolves once the gateway was asked, or did not answer.
   * @param {AbortSignal} signal */
  async known(signal) {
    for (const end = performance.now() + LIST_MS; !this.#asked && performance.now() < end; ) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      signal.throwIfAborted();
    }
  }
}
