// The ways to play, best first, and which of them this browser and a stream's
// codecs allow: decided before anything is connected.

import { canPlayHls, playHls } from "./nativehls.js";
import { playMjpeg } from "./mjpeg.js";
import { canBuffer, playMse } from "./mse.js";
import { canReceive, playWhep } from "./whep.js";

/**
 * @typedef {import("./streams.js").Track} Track
 * @typedef {HTMLVideoElement | HTMLCanvasElement} Screen
 *
 * @typedef {object} Attempt one try to play
 * @property {(path: string) => URL} url below the stream's own
 * @property {() => number} now the gateway's time, Unix milliseconds
 * @property {Track[]} tracks as far as known
 * @property {boolean} sound whether anybody listens
 * @property {number} patience milliseconds for what takes a blink on a good network
 * @property {AbortSignal} signal ends it
 * @property {(fault: import("./fault.js").Fault) => void} onEnd called when it breaks
 *
 * @typedef {object} Stats what is known of a picture being shown
 * @property {number} [bytes] received so far
 * @property {number} [rate] bits a second, where they come in large pieces
 * @property {number} [frames] shown so far
 * @property {number} [loss] share of packets that never came
 * @property {number} [roundTrip] milliseconds
 * @property {number} [delay] milliseconds behind the camera
 * @property {number} [signs] of the gateway's life, a number that grows
 * @property {string} [path] such as `udp`
 *
 * @typedef {object} Playing
 * @property {string} notice code of what the stream does without
 * @property {() => Promise<Stats>} stats
 * @property {() => Promise<boolean>} [isNarrow] whether the gateway finds the line too narrow for the stream
 *
 * @typedef {object} Way
 * @property {string} name
 * @property {"video" | "canvas"} screen
 * @property {boolean} [silentWhenMuted] leaves the sound out while nobody listens
 * @property {number} tries before the next way's turn
 * @property {number} firstPictureMs from connected to the first picture
 * @property {boolean} [stands] may show a first picture and never play on: it has to move
 * @property {(track: Track | undefined) => number} [stallMs] without a new picture for this long, it has stalled; else a time of the player's
 * @property {(track: Track | undefined) => string} refuses why it cannot show this video; empty if it can
 * @property {(screen: any, attempt: Attempt) => Promise<Playing>} play
 */

const probe = document.createElement("video");

/** @type {Record<string, Way>} */
export const WAYS = {
  webrtc: {
    name: "WebRTC",
    tries: 1,
    screen: "video",
    firstPictureMs: 4000,
    refuses: (track) => canReceive(track),
    play: playWhep,
  },
  mse: {
    name: "MSE",
    silentWhenMuted: true,
    tries: 1,
    screen: "video",
    firstPictureMs: 4000,
    refuses: (track) => canBuffer(track),
    play: playMse,
  },
  hls: {
    name: "HLS",
    // Chromium 156 refuses a playlist that has just begun, for a second or two.
    tries: 3,
    screen: "video",
    // Some browsers buffer three segments.
    firstPictureMs: 15000,
    stands: true,
    refuses: (track) => canPlayHls(probe, track),
    play: playHls,
  },
  mjpeg: {
    name: "MJPEG",
    tries: 1,
    screen: "canvas",
    firstPictureMs: 5000,
    // Of all other cameras it shows key frames alone, which may be far between.
    stallMs: (track) => (track?.codec === "MJPEG" ? 2500 : 30_000),
    refuses: () => "",
    play: playMjpeg,
  },
};

/**
 * Which ways to try, and why not the others.
 * @param {string[]} wanted keys of `WAYS`; all if empty
 * @param {Track[]} tracks of the stream; none if not known yet
 */
export function choose(wanted, tracks) {
  const video = tracks.find(({ kind }) => kind === "video");
  const keys = wanted.length ? wanted : Object.keys(WAYS);
  const [able, reasons] = [/** @type {Way[]} */ ([]), /** @type {string[]} */ ([])];
  for (const way of keys.map((key) => WAYS[key])) {
    // Sound alone: MJPEG has none, and all others may try.
    const silent = tracks.length > 0 && !video && way === WAYS.mjpeg;
    const reason = silent ? "there is no picture" : way.refuses(video);
    if (reason) reasons.push(`${way.name}: ${reason}`);
    else able.push(way);
  }
  return { able, reasons, codec: video?.codec ?? tracks[0]?.codec ?? "" };
}
