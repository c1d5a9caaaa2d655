// Motion JPEG, where nothing else plays: whole pictures in one long answer
// (multipart/x-mixed-replace), drawn as they come.

import { Fault, request } from "./fault.js";

/** A picture longer than this is none. */
const MOST_BYTES = 16 << 20;

/**
 * Plays into `canvas`. Resolves once the first picture is drawn.
 * @param {HTMLCanvasElement} canvas
 * @param {import("./ways.js").Attempt} attempt
 * @returns {Promise<import("./ways.js").Playing>}
 */
export async function playMjpeg(canvas, { url, now, signal, onEnd }) {
  const response = await request(url("stream.mjpeg"), { signal });
  const parts = new Parts(response);
  const counted = { bytes: 0, frames: 0 };
  let taken = 0;
  const context = canvas.getContext("2d");
  const next = async () => {
    const part = await parts.next();
    if (!part) throw new Fault({ code: "viewer.closed", title: "The gateway ended the pictures." });
    const { jpeg } = part;
    counted.bytes += jpeg.size;
    const picture = await createImageBitmap(jpeg);
    if (canvas.width !== picture.width) canvas.width = picture.width;
    if (canvas.height !== picture.height) canvas.height = picture.height;
    context?.drawImage(picture, 0, 0);
    picture.close();
    counted.frames += 1;
    taken = part.taken;
  };
  await next();
  const go = async () => {
    for (;;) await next();
  };
  go().catch((error) => {
    if (signal.aborted) return;
    const title = "The browser cannot show this camera's pictures.";
    onEnd(error instanceof Fault ? error : new Fault({ code: "viewer.failed", title, detail: String(error) }));
  });
  return {
    notice: "",
    stats: async () => ({ ...counted, delay: taken ? now() - taken : undefined, path: "http" }),
  };
}

/** The parts of a multipart answer. */
class Parts {
  #reader;
  #held = new Uint8Array(0);

  /** @param {Response} response */
  constructor(response) {
    if (!response.body) throw new Fault({ title: "The gateway sent no pictures." });
    this.#reader = response.body.getReader();
  }

  /** The next picture, and when the camera took it (Unix milliseconds; 0 if
   *  nobody says); `null` at the end. */
  async next() {
    let head = -1;
    while ((head = find(this.#held, [13, 10, 13, 10])) < 0) {
      if (!(await this.#more())) return null;
    }
    const lines = new TextDecoder().decode(this.#held.subarray(0, head));
    const length = Number(/^content-length:\s*(\d+)/im.exec(lines)?.[1] ?? NaN);
    if (!(length <= MOST_BYTES)) throw new Fault({ title: "The pictures come without a length." });
    const end = head + 4 + length;
    while (this.#held.length < end) {
      if (!(await this.#more())) return null;
    }
    const jpeg = new Blob([this.#held.slice(head + 4, end)], { type: "image/jpeg" });
    this.#held = this.#held.slice(end);
    const taken = Number(/^x-timestamp:\s*(\d+(?:\.\d+)?)/im.exec(lines)?.[1] ?? 0) * 1000;
    return { jpeg, taken };
  }

  async #more() {
    const { value, done } = await this.#reader.read();
    if (done || !value) return false;
    const all = new Uint8Array(this.#held.length + value.length);
    all.set(this.#held);
    all.set(value, this.#held.length);
    this.#held = all;
    return true;
  }
}

/** Where `wanted` begins in `bytes`; -1 if nowhere.
 * @param {Uint8Array} bytes @param {number[]} wanted */
function find(bytes, wanted) {
  for (let at = bytes.indexOf(wanted[0]); at >= 0; at = bytes.indexOf(wanted[0], at + 1)) {
    if (wanted.every((byte, i) => bytes[at + i] === byte)) return at;
  }
  return -1;
}
