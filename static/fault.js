// Faults in words. The gateway speaks RFC 9457 problem documents with a `code`
// of its catalogue; what it cannot tell (it is off, the network is gone, this
// browser lacks a decoder) is told here, under the catalogue's codes.

/**
 * @typedef {object} Told
 * @property {string} [code] of the catalogue
 * @property {string} title what happened, in a sentence
 * @property {string} [detail] what exactly
 * @property {string} [hint] the way out
 * @property {number} [retryAfter] seconds
 * @property {string | null} [next_retry] when the gateway tries its camera again, RFC 3339
 */

/** Something that keeps a viewer from seeing a stream. */
export class Fault extends Error {
  /** @param {Told} told */
  constructor({ code = "", title, detail = "", hint = "", retryAfter = 0 }) {
    super(title);
    this.code = code;
    this.title = title;
    this.detail = detail;
    this.hint = hint;
    this.retryAfter = retryAfter;
  }
}

export const unreachable = () =>
  new Fault({
    code: "gateway.unreachable",
    title: "The gateway does not answer.",
    hint: "Check that it is running and that this device is on the network.",
  });

/** A line that carries nothing but a key frame now and then. */
export const narrowLine = () =>
  new Fault({
    code: "viewer.slow",
    title: "The connection is too slow for this stream.",
    detail: "Only key frames get through, one now and then.",
    hint: "Move closer to the access point, or give this camera a `substream`, which is shown on slow connections.",
  });

/**
 * @param {string} detail
 * @param {string[]} tried candidates of the gateway, such as `10.0.0.5:8189/udp`
 */
export function iceFailed(detail, tried = []) {
  const ports = [...new Set(tried.map((one) => one.replace(/^.*:/, "")))];
  const open = ports.length ? ports.join(" and ") : "the WebRTC port (UDP)";
  return new Fault({
    code: "viewer.ice_failed",
    title: "No network path to the gateway works for WebRTC.",
    detail: tried.length ? `${detail}; tried ${tried.join(", ")}` : detail,
    hint: `Open ${open} to the gateway, or name the address that reaches it in \`webrtc.advertise\`.`,
  });
}

/**
 * What this browser cannot play in any way.
 * @param {string} codec as people know it, such as `H.265`
 * @param {string[]} reasons one for each way
 */
export function unplayable(codec, reasons) {
  const h265 = codec === "H.265";
  return new Fault({
    code: "codec.video_unplayable",
    title: `This browser cannot play the camera's ${codec} video.`,
    detail: reasons.join("; "),
    hint: h265
      ? "Use Safari, or Chrome or Edge on a device that decodes H.265, or set the camera to H.264."
      : "Try another browser, or set the camera to H.264.",
    // Whoever hears that the camera sends something else tries at once.
    retryAfter: 60,
  });
}

/** The fault in a response that is not OK.
 * @param {Response} response */
export async function readFault(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  const type = response.headers.get("Content-Type") ?? "";
  if (type.startsWith("application/problem+json")) {
    try {
      const told = await response.json();
      return new Fault({ ...told, title: told.title ?? `HTTP ${response.status}`, retryAfter });
    } catch {
      // Cut off on the way: the status still says something.
    }
  }
  const title = `The gateway answered with HTTP status ${response.status}.`;
  return new Fault({ title, hint: "A proxy in between may be the one that answers.", retryAfter });
}

/**
 * `fetch`, with every failure a `Fault`; an abort stays an abort.
 * @param {URL | string} url
 * @param {RequestInit} options
 */
export async function request(url, options = {}) {
  let response;
  try {
    response = await fetch(url, { cache: "no-store", ...options });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw unreachable();
  }
  if (!response.ok) throw await readFault(response);
  return response;
}
