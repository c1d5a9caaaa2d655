// WHEP (draft-ietf-wish-whep): WebRTC media by one POST.

import { Fault, iceFailed, request } from "./fault.js";

/** How long a connection that lost its path may look for it again. */
const DISCONNECTED_MS = 2000;

/** From NTP's epoch to Unix's, milliseconds. */
const NTP_EPOCH_MS = 2_208_988_800_000;

/** What RTP calls what `/api/streams` names.
 * @type {Record<string, string>} */
const MIME_TYPES = {
  "H.264": "video/H264",
  "H.265": "video/H265",
  VP8: "video/VP8",
  VP9: "video/VP9",
  AV1: "video/AV1",
};

/** Why WebRTC cannot show a video track; empty if it may.
 * @param {import("./ways.js").Track | undefined} track */
export function canReceive(track) {
  if (!("RTCPeerConnection" in window)) return "this browser has no WebRTC";
  const mime = MIME_TYPES[track?.codec ?? "H.264"];
  if (!mime) return `it cannot carry ${track?.codec}`;
  const known = RTCRtpReceiver.getCapabilities?.("video")?.codecs;
  const has = known?.some(({ mimeType }) => mimeType.toLowerCase() === mime.toLowerCase()) ?? true;
  return has ? "" : `this browser does not receive ${track?.codec ?? "H.264"}`;
}

/**
 * Plays into `video`. Resolves once connected. Aborting the attempt's signal
 * ends the session.
 * @param {HTMLVideoElement} video
 * @param {import("./ways.js").Attempt} attempt
 * @returns {Promise<import("./ways.js").Playing>}
 */
export async function playWhep(video, { url, now, tracks, patience, signal, onEnd }) {
  const peer = new RTCPeerConnection();
  const endpoint = url("whep");
  /** @type {URL | null} */
  let session = null;
  const close = () => {
    peer.close();
    video.srcObject = null;
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
    const has = (/** @type {string} */ kind) => !tracks.length || tracks.some((track) => track.kind === kind);
    for (const kind of ["video", "audio"].filter(has)) peer.addTransceiver(kind, { direction: "recvonly" });

    // No waiting for our own candidates: the gateway learns them from our checks.
    // Looking for them begins once we know through which servers (RFC 9725 §4.6).
    const offer = await peer.createOffer();
    signal.throwIfAborted();
    const response = await request(endpoint, {
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: offer.sdp,
      signal,
    });
    session = new URL(response.headers.get("Location") ?? "", response.url || endpoint);
    const token = endpoint.searchParams.get("token");
    if (token) session.searchParams.set("token", token);
    const sdp = await response.text();
    signal.throwIfAborted();
    const tried = candidates(sdp);
    const connected = whenConnected(peer, tried, patience, signal);
    connected.catch(() => {}); // Handled below, unless the next line throws first.
    useServers(peer, response.headers.get("Link") ?? "");
    await peer.setLocalDescription(offer);
    await peer.setRemoteDescription({ type: "answer", sdp });
    await connected;
    watch(peer, tried, signal, onEnd);
    return {
      notice: response.headers.get("Porthole-Notice") ?? "",
      stats: () => stats(peer, now),
      isNarrow: () => isNarrow(session),
    };
  } catch (error) {
    signal.removeEventListener("abort", close);
    close();
    throw error;
  }
}

/** Asks the gateway whether it sends key frames alone, since the line carries no more.
 * @param {URL | null} session */
async function isNarrow(session) {
  if (!session) return false;
  const answer = await fetch(session, { cache: "no-store" }).catch(() => null);
  return answer?.headers.get("Porthole-Notice") === "viewer.slow";
}

/** STUN and TURN servers of the gateway's, one `Link` each.
 * @param {RTCPeerConnection} peer @param {string} links */
function useServers(peer, links) {
  const servers = iceServers(links);
  if (!servers.length) return;
  try {
    peer.setConfiguration({ iceServers: servers });
  } catch (error) {
    // Such as a TURN server without a login: many viewers do without any.
    console.warn(`The gateway's ICE servers cannot be used: ${error}`);
  }
}

/** A `Link`, and a parameter of one: its value is quoted or a word. */
const LINK = /<([^>]*)>((?:\s*;\s*[\w-]+=(?:"(?:[^"\\]|\\.)*"|[^\s;,"]+))*)/g;
const PARAMETER = /([\w-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+))/g;

/** `<turn:host>; rel="ice-server"; username="ann"; credential="…", <stun:host>; …`
 * @param {string} links @returns {RTCIceServer[]} */
function iceServers(links) {
  return [...links.matchAll(LINK)].flatMap(([, urls, rest]) => {
    const pairs = [...rest.matchAll(PARAMETER)].map(([, name, quoted, word]) => [name, quoted?.replace(/\\(.)/g, "$1") ?? word]);
    const { rel, username, credential } = Object.fromEntries(pairs);
    return rel === "ice-server" ? [{ urls, username, credential }] : [];
  });
}

/** Where the gateway can be reached, as `address:port/udp`.
 * @param {string} sdp */
function candidates(sdp) {
  const lines = [...sdp.matchAll(/^a=candidate:\S+ \d+ (\S+) \d+ (\S+) (\d+) /gim)];
  const named = lines.map(([, protocol, address, port]) => {
    const host = address.includes(":") ? `[${address}]` : address;
    return `${host}:${port}/${protocol.toLowerCase()}`;
  });
  return [...new Set(named)];
}

/**
 * @param {RTCPeerConnection} peer
 * @param {string[]} tried
 * @param {number} patience
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function whenConnected(peer, tried, patience, signal) {
  return new Promise((resolve, reject) => {
    const late = () => reject(iceFailed(`no connection in ${patience / 1000} s`, tried));
    const timer = setTimeout(late, patience);
    const settle = () => {
      if (signal.aborted) reject(signal.reason);
      else if (peer.connectionState === "connected") resolve();
      else if (["failed", "closed"].includes(peer.connectionState)) {
        reject(iceFailed("every path failed", tried));
      } else return;
      clearTimeout(timer);
    };
    peer.addEventListener("connectionstatechange", settle);
    signal.addEventListener("abort", settle, { once: true });
    settle();
  });
}

/**
 * @param {RTCPeerConnection} peer
 * @param {string[]} tried
 * @param {AbortSignal} signal
 * @param {(fault: Fault) => void} onEnd
 */
function watch(peer, tried, signal, onEnd) {
  let timer = 0;
  const end = () => {
    if (!signal.aborted) onEnd(iceFailed("the connection was lost", tried));
  };
  peer.addEventListener("connectionstatechange", () => {
    clearTimeout(timer);
    // Whoever ends a session on the gateway's side closes DTLS.
    if (["failed", "closed"].includes(peer.connectionState)) end();
    if (peer.connectionState === "disconnected") timer = setTimeout(end, DISCONNECTED_MS);
  });
  signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
}

/**
 * @param {RTCPeerConnection} peer
 * @param {() => number} now
 * @returns {Promise<import("./ways.js").Stats>}
 */
async function stats(peer, now) {
  // Not all browsers' reports have a type in TypeScript.
  /** @type {Map<string, any>} */
  const report = /** @type {any} */ (await peer.getStats());
  const all = [...report.values()];
  const inbound = all.filter(({ type }) => type === "inbound-rtp");
  const video = inbound.find(({ kind }) => kind === "video") ?? inbound[0];
  if (!video) return {};
  const transport = all.find(({ type, selectedCandidatePairId }) => type === "transport" && selectedCandidatePairId);
  const pair =
    report.get(transport?.selectedCandidatePairId) ??
    all.find(({ type, nominated, state }) => type === "candidate-pair" && nominated && state === "succeeded");
  const came = (video.packetsReceived ?? 0) + Math.max(video.packetsLost ?? 0, 0);
  // The gateway's sender reports tell when a picture was captured.
  let played = video.estimatedPlayoutTimestamp;
  if (played > NTP_EPOCH_MS) played -= NTP_EPOCH_MS;
  return {
    bytes: inbound.reduce((sum, { bytesReceived = 0 }) => sum + bytesReceived, 0),
    frames: video.framesDecoded,
    loss: came ? Math.max(video.packetsLost ?? 0, 0) / came : 0,
    roundTrip: pair?.currentRoundTripTime === undefined ? undefined : pair.currentRoundTripTime * 1000,
    delay: played ? now() - played : undefined,
    signs: (pair?.bytesReceived ?? 0) + (pair?.responsesReceived ?? 0),
    path: report.get(pair?.localCandidateId)?.protocol,
  };
}
