// MSE: fragmented MP4 over a WebSocket, into a buffer that is kept short.

import { Edge } from "./edge.js";
import { Fault, request } from "./fault.js";

/** iPhones have the managed kind alone. */
const Source = () =>
  window.MediaSource ?? /** @type {any} */ (window).ManagedMediaSource ?? /** @type {any} */ (null);

/** What our gateway may send, for cameras whose codec is not known yet. */
const COMMON = ["avc1.640029", "hvc1.1.6.L153.B0", "mp4a.40.2", "mp4a.40.5", "flac", "opus"];

/** How long the gateway may take to say what comes; it waits up to 3 s for a
 *  camera that is starting. */
const HELLO_MS = 4500;

/** @param {string} kind @param {string} codec */
const plays = (kind, codec) => Source()?.isTypeSupported(`${kind}/mp4; codecs="${codec}"`) ?? false;

/** Why MSE cannot show a video track; empty if it may.
 * @param {import("./ways.js").Track | undefined} track */
export function canBuffer(track) {
  if (!Source()) return "this browser has no Media Source Extensions";
  if (!track) return "";
  if (!track.rfc6381) return `it cannot carry ${track.codec}`;
  return plays("video", track.rfc6381) ? "" : `this browser does not decode ${track.codec} (${track.rfc6381})`;
}

/**
 * Plays into `video`. Resolves once the gateway has said what comes.
 * @param {HTMLVideoElement} video
 * @param {import("./ways.js").Attempt} attempt
 * @returns {Promise<import("./ways.js").Playing>}
 */
export async function playMse(video, { url, now, tracks, sound, signal, onEnd }) {
  const endpoint = url("mse");
  const address = new URL(endpoint);
  address.protocol = endpoint.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  const source = new (Source())();
  const file = URL.createObjectURL(source);
  /** @type {Buffer | null} */
  let buffer = null;
  let received = 0;
  // When a moment of the media was captured, as the gateway says it.
  let captured = { media: 0, wall: 0 };
  const edge = new Edge(video);

  const stop = () => {
    socket.close();
    edge.stop();
    video.removeAttribute("src");
    video.load();
    URL.revokeObjectURL(file);
  };
  signal.addEventListener("abort", stop, { once: true });

  const codecs = playable(tracks, sound);

  return await new Promise((resolve, reject) => {
    let settled = false;
    const late = new Fault({ code: "viewer.no_picture", title: "The gateway did not say what comes over MSE." });
    const timer = setTimeout(() => fail(late), HELLO_MS);
    const fail = (/** @type {Error} */ error) => {
      clearTimeout(timer);
      if (signal.aborted) return reject(signal.reason);
      const fault = error instanceof Fault ? error : broken(error.message);
      if (settled) return onEnd(fault);
      settled = true;
      signal.removeEventListener("abort", stop);
      stop();
      reject(fault);
    };
    signal.addEventListener("abort", () => fail(late), { once: true });

    const begin = async (/** @type {{value: string, notice?: string}} */ { value, notice = "" }) => {
      if (!Source().isTypeSupported(value)) throw broken(`it does not take ${value}`);
      edge.sound = /mp4a|flac|opus/i.test(value);
      if (buffer) return buffer.changeType(value);
      buffer = new Buffer(video, source, value, () => edge.look(), fail);
      settled = true;
      clearTimeout(timer);
      resolve({
        // What was not asked for is not missed.
        notice: sound || codecs.some(isSound) ? notice : "",
        stats: async () => ({
          bytes: received,
          delay: captured.wall ? now() - captured.wall - (video.currentTime - captured.media) * 1000 : undefined,
          path: "websocket",
        }),
      });
    };

    socket.onmessage = ({ data }) => {
      if (signal.aborted) return;
      try {
        if (data instanceof ArrayBuffer) {
          received += data.byteLength;
          buffer?.append(data);
          return;
        }
        const said = JSON.parse(data);
        if (said.type === "mse") begin(said).catch(fail);
        else if (said.type === "time") {
          captured = said;
          if (said.key) buffer?.keyAt(said.media);
        }
        else if (said.type === "error") fail(new Fault({ ...said, title: said.title ?? said.value }));
      } catch (error) {
        fail(/** @type {Error} */ (error));
      }
    };
    socket.onclose = async () => {
      if (signal.aborted || (settled && !buffer)) return;
      if (buffer) return fail(new Fault({ code: "viewer.closed", title: "The gateway closed the connection." }));
      fail(await whyClosed(endpoint, signal));
    };
    video.addEventListener("error", () => fail(broken(video.error?.message ?? "")), { signal });

    let [ready, open] = [false, false];
    const hello = () => {
      if (ready && open) socket.send(JSON.stringify({ type: "mse", value: codecs.join() }));
    };
    socket.onopen = () => ((open = true), hello());
    source.addEventListener("sourceopen", () => ((ready = true), hello()), { once: true });
    // Safari lets the managed kind play where no AirPlay can take it away.
    video.disableRemotePlayback = true;
    video.src = file;
  });
}

/** @param {string} codec */
const isSound = (codec) => /^(mp4a|flac|opus)/i.test(codec);

/** What the gateway may send: what this browser decodes, of the stream's codecs
 *  where they are known. Who does not listen is better off without sound, which
 *  browsers want to have in hand for longer than pictures.
 * @param {import("./ways.js").Track[]} tracks @param {boolean} sound */
function playable(tracks, sound) {
  const named = tracks.flatMap(({ rfc6381 }) => rfc6381 ?? []);
  const all = tracks.length ? named : COMMON;
  const picture = all.some((codec) => !isSound(codec));
  const wanted = all.filter((codec) => sound || !picture || !isSound(codec));
  return wanted.filter((codec) => plays(isSound(codec) ? "audio" : "video", codec));
}

/** A browser does not tell a page why a socket was not opened; a plain request
 *  for the same is told.
 * @param {URL} endpoint @param {AbortSignal} signal */
async function whyClosed(endpoint, signal) {
  try {
    await request(endpoint, { signal });
  } catch (error) {
    if (error instanceof Fault && error.code) return error;
  }
  return new Fault({
    code: "viewer.no_websocket",
    title: "The WebSocket for MSE was not opened.",
    hint: "A proxy in between has to let WebSockets through (the `Upgrade` header).",
  });
}

const broken = (detail = "") =>
  new Fault({ code: "codec.video_unplayable", title: "The browser cannot play this stream over MSE.", detail });

/** A source buffer, fed in order and kept short. */
class Buffer {
  /** @type {ArrayBuffer[]} */
  #waiting = [];
  #bytes = 0;
  /** @type {SourceBuffer} */
  #buffer;
  /** @type {number[]} where a decoder can start, of what is there */
  #keys = [];

  /**
   * @param {HTMLVideoElement} video
   * @param {MediaSource} source
   * @param {string} mime
   * @param {() => void} onChange
   * @param {(error: Error) => void} onFault
   */
  constructor(video, source, mime, onChange, onFault) {
    this.video = video;
    this.#buffer = source.addSourceBuffer(mime);
    this.#buffer.mode = "segments";
    this.onFault = onFault;
    this.#buffer.addEventListener("updateend", () => {
      onChange();
      this.#go();
    });
    this.#buffer.addEventListener("error", () => onFault(broken("a fragment was refused")));
  }

  /** @param {string} mime */
  changeType(mime) {
    // What waits is of the old type, and soon past.
    this.#waiting = [];
    this.#bytes = 0;
    if (this.#buffer.updating) this.#buffer.abort();
    this.#buffer.changeType(mime);
  }

  /** @param {number} media time of a key frame */
  keyAt(media) {
    this.#keys.push(media);
  }

  /** @param {ArrayBuffer} data */
  append(data) {
    this.#waiting.push(data);
    this.#bytes += data.byteLength;
    // A page that was asleep: what waits is of no use, and no end is in sight.
    if (this.#bytes > MOST_WAITING_BYTES) {
      this.onFault(new Fault({ code: "viewer.slow", title: "This browser fell too far behind." }));
      return;
    }
    this.#go();
  }

  #go() {
    const buffer = this.#buffer;
    if (buffer.updating || !this.#waiting.length) return;
    try {
      // All before the key frame that what is shown depends on. To remove more
      // would take the picture away up to the next one.
      const shown = this.video.currentTime - KEPT_SECONDS;
      const start = buffer.buffered.length ? buffer.buffered.start(0) : 0;
      const key = this.#keys.findLast((key) => key < shown) ?? 0;
      if (key - start > KEPT_SECONDS) {
        this.#keys = this.#keys.filter((other) => other >= key);
        buffer.remove(0, key - 0.001);
        return;
      }
      const data = this.#waiting.length === 1 ? this.#waiting[0] : joined(this.#waiting, this.#bytes);
      buffer.appendBuffer(data);
      this.#waiting = [];
      this.#bytes = 0;
    } catch (error) {
      // The source was closed under us: its own event says why.
      this.onFault(/** @type {Error} */ (error));
    }
  }
}

/** Behind what is shown, and at a time: each removal takes a while. */
const KEPT_SECONDS = 4;
const MOST_WAITING_BYTES = 32 << 20;

/** @param {ArrayBuffer[]} pieces @param {number} bytes */
function joined(pieces, bytes) {
  const all = new Uint8Array(bytes);
  let at = 0;
  for (const piece of pieces) {
    all.set(new Uint8Array(piece), at);
    at += piece.byteLength;
  }
  return all.buffer;
}
