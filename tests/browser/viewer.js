// A viewer in Chromium: the page's own player, and what WebRTC's statistics say
// of it.

import { openPage } from "./house.js";

/** Keeps the page's connections, to ask for their statistics. */
export const keepPeers = (page) =>
  page.addInitScript(() => {
    window.peers = [];
    window.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(...args) {
        super(...args);
        window.peers.push(this);
      }
    };
  });

export const inbound = (page, kind = "video") =>
  page.evaluate(async (kind) => {
    const stats = await window.peers.at(-1).getStats();
    return [...stats.values()].find((s) => s.type === "inbound-rtp" && s.kind === kind);
  }, kind);

/** Opens a stream's page and waits until it plays by WebRTC, for so many ms. */
export async function playing(browser, gateway, stream, before = () => {}, timeout = 20_000) {
  const url = new URL(`${stream}/?mode=webrtc`, gateway.base).href;
  const page = await openPage(browser, url, {
    before: async (page) => {
      await keepPeers(page);
      await before(page);
    },
  });
  await page.waitForSelector("porthole-camera[data-state=live]", { timeout });
  return page;
}

/** What happened between two statistics of a video track. */
export function between(before, after) {
  const seconds = (after.timestamp - before.timestamp) / 1000;
  const grown = (name) => (after[name] ?? 0) - (before[name] ?? 0);
  return {
    seconds: Number(seconds.toFixed(1)),
    frames_per_second: Number((grown("framesDecoded") / seconds).toFixed(1)),
    frozen: Number((grown("totalFreezesDuration") / seconds).toFixed(4)),
    freezes: grown("freezeCount"),
    dropped: grown("framesDropped"),
    never_came: grown("packetsLost"),
    asked_again: grown("nackCount"),
    sent_again: grown("retransmittedPacketsReceived"),
    key_frames_asked: grown("pliCount"),
    jitter_buffer_ms: Math.round((grown("jitterBufferDelay") / grown("jitterBufferEmittedCount")) * 1000),
  };
}

/** An empty page of the gateway's origin, without its content policy. */
export async function emptyPage(browser, gateway, options) {
  const url = new URL("empty-page", gateway.base).href;
  const page = await openPage(browser, url, {
    ...options,
    before: async (page) => {
      await page.route(url, (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html><body></body>" }));
      await keepPeers(page);
      await options?.before?.(page);
    },
  });
  return page;
}
