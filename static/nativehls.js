// HLS, where the browser plays it by itself (Safari, iOS, recent Chromium).

import { Fault, request } from "./fault.js";
import { Loaded } from "./loaded.js";

const TYPE = "application/vnd.apple.mpegurl";

/** Whether the browser can change between a stream's two qualities by itself. Safari
 *  can. Chromium 156 looks in the other playlist for the sequence number that was
 *  next in the first, which says nothing (RFC 8216 §4.3.3.2): it stands at its first
 *  picture for ever, or leaps.
 * @param {HTMLVideoElement} video */
const adapts = (video) => "getStartDate" in video;

/** Why the browser's own HLS cannot show a video track; empty if it may.
 * @param {HTMLVideoElement} video
 * @param {import("./ways.js").Track | undefined} track */
export function canPlayHls(video, track) {
  if (!video.canPlayType(TYPE)) return "this browser does not play HLS by itself";
  if (!track) return "";
  if (!track.rfc6381) return `it cannot carry ${track.codec}`;
  const plays = video.canPlayType(`video/mp4; codecs="${track.rfc6381}"`);
  return plays ? "" : `this browser does not decode ${track.codec} (${track.rfc6381})`;
}

/**
 * Plays into `video`. Resolves once the playlist is there.
 * @param {HTMLVideoElement} video
 * @param {import("./ways.js").Attempt} attempt
 * @returns {Promise<import("./ways.js").Playing>}
 */
export async function playHls(video, { url, now, signal, onEnd }) {
  const playlist = url("index.m3u8");
  if (!adapts(video) && !playlist.searchParams.has("quality")) playlist.searchParams.set("quality", "main");
  // Asked first because a media element cannot say why a playlist is refused.
  await request(playlist, { signal });
  const loaded = new Loaded(playlist);
  const stop = () => {
    loaded.stop();
    video.removeAttribute("src");
    video.load();
  };
  const broken = () => {
    const detail = video.error?.message ?? "";
    const title = "The browser cannot play this stream over HLS.";
    return new Fault({ code: "codec.video_unplayable", title, detail });
  };
  signal.addEventListener("abort", stop, { once: true });
  video.addEventListener("error", () => onEnd(broken()), { once: true, signal });
  // Seconds of a camera's past are no use: after a pause, back to live.
  video.addEventListener("playing", () => catchUp(video), { signal });
  video.src = playlist.href;
  return {
    notice: "",
    stats: async () => {
      const { rate, zero } = await loaded.look(video.buffered, signal).catch(() => ({ rate: NaN, zero: NaN }));
      // Safari knows by itself when its time 0 was captured.
      const began = /** @type {any} */ (video).getStartDate?.()?.getTime() || zero;
      return { rate, delay: now() - began - video.currentTime * 1000, path: "http" };
    },
  };
}

/** @param {HTMLVideoElement} video */
function catchUp(video) {
  const { seekable } = video;
  if (seekable.length === 0) return;
  const live = seekable.end(seekable.length - 1);
  if (live - video.currentTime > 10) video.currentTime = live - 2;
}
