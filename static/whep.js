// WHEP (draft-ietf-wish-whep): WebRTC media by one POST.

import { Fault, iceFailed, request } from "./fault.js";

/** How long ICE and DTLS may take. On a network that lets them through they
 *  take a tenth of a second; a firewall that drops them never answers. */
const CONNECT_MS = 6000;

/** How long a connection that lost its path may look for it again. */
const DISCONNECTED_MS = 4000;

/**
 * Plays `endpoint` into `video`. Resolves once connected; `onEnd(fault)` is
 * called when it later breaks. Aborting `signal` ends the session.
 *
 * @returns {Promise<{notice: string}>} `notice`: fault code of what the stream
 *   does without, such as `codec.audio_dropped`.
 */
export async function playWhep(endpoint, video, signal, onEnd) {
  if (!("RTCPeerConnection" in window)) {
    throw new Fault({ code: "viewer.no_webrtc", title: "This browser has no WebRTC." });
  }
  const peer = new RTCPeerConnection();
  let session = null;
  const close = () => {
    peer.close();
    // `keepalive` lets it leave with the page.
    if (session) fetch(session, { method: "DELETE", keepalive: true }).catch(() => {});
    session = null;
  };
  signal.addEventListener("abort", close, { once: true });

  try {
    const stream = new MediaStream();
    peer.ontrack = ({ track, receiver }) => {
      // A camera is live: show what is here rather than wait for more.
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
      stream.addTrack(track);
      if (video.srcObject !== stream) video.srcObject = stream;
    };
    for (const kind of ["video", "audio"]) peer.addTransceiver(kind, { direction: "recvonly" });

    // No waiting for our own candidates: the gateway learns them from our checks.
    await peer.setLocalDescription(await peer.createOffer());
    signal.throwIfAborted();
    const response = await request(endpoint, {
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: peer.localDescription.sdp,
      signal,
    });
    session = new URL(response.headers.get("Location"), response.url || endpoint);
    const sdp = await response.text();
    signal.throwIfAborted();
    const connected = whenConnected(peer, signal);
    connected.catch(() => {}); // Handled below, unless the next line throws first.
    await peer.setRemoteDescription({ type: "answer", sdp });
    await connected;
    watch(peer, signal, onEnd);
    return { notice: response.headers.get("Porthole-Notice") ?? "" };
  } catch (error) {
    signal.removeEventListener("abort", close);
    close();
    throw error;
  }
}

function whenConnected(peer, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(iceFailed(`no connection after ${CONNECT_MS / 1000} s`)),
      CONNECT_MS,
    );
    const settle = () => {
      if (signal.aborted) reject(signal.reason);
      else if (peer.connectionState === "connected") resolve();
      else if (["failed", "closed"].includes(peer.connectionState)) reject(iceFailed());
      else return;
      clearTimeout(timer);
    };
    peer.addEventListener("connectionstatechange", settle);
    signal.addEventListener("abort", settle, { once: true });
    settle();
  });
}

function watch(peer, signal, onEnd) {
  let timer = 0;
  const end = () => {
    if (!signal.aborted) onEnd(iceFailed("the connection was lost"));
  };
  peer.addEventListener("connectionstatechange", () => {
    clearTimeout(timer);
    if (peer.connectionState === "failed") end();
    if (peer.connectionState === "disconnected") timer = setTimeout(end, DISCONNECTED_MS);
  });
  // Whoever ends a session on the gateway's side closes DTLS.
  signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
}
