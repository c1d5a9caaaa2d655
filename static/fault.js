// Faults in words. The gateway speaks RFC 9457 problem documents with a `code`;
// what it cannot tell (it is off, the network is gone) is told here.

/** Something that keeps a viewer from seeing a stream. */
export class Fault extends Error {
  /** @param {{code?: string, title: string, detail?: string, hint?: string, retryAfter?: number}} told
   *  `retryAfter` in seconds. */
  constructor({ code = "", title, detail = "", hint = "", retryAfter = 0 }) {
    super(title);
    Object.assign(this, { code, title, detail, hint, retryAfter });
  }
}

export const unreachable = () =>
  new Fault({
    code: "gateway.unreachable",
    title: "The gateway does not answer.",
    hint: "Check that it is running and that this device is on the network.",
  });

export const iceFailed = (detail = "") =>
  new Fault({
    code: "viewer.ice_failed",
    title: "No network path to the gateway works for WebRTC.",
    detail,
    hint: "Open the WebRTC port (UDP), or name the reachable address in `webrtc.advertise`.",
  });

/** The fault in a response that is not OK. */
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

/** `fetch`, with every failure a `Fault`; an abort stays an abort. */
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
