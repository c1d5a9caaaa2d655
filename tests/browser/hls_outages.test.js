// A camera that comes back, and one that changes its picture's size, in players
// of HLS that others wrote: they play on, and stand still no longer than it did.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ARTEFACTS, slack, startCameras, startChromium, startGateway, until } from "./house.js";
import { startSite } from "./players.js";

const PLAYERS = ["hls", "shaka"];
/** How long a player may stand still for a change, in milliseconds. */
const LONGER = 500;
/** How much longer than the camera was away: as far as it is behind the camera. */
const BEHIND = 1500;
let cameras, gateway, browser, site, stretch;

before(async () => {
  stretch = slack();
  site = await startSite();
  cameras = await startCameras(["yard=gop-1s", "changing=gop-1s+small"]);
  const url = (name) => `rtsp://127.0.0.1:${cameras.port}/${name}`;
  gateway = await startGateway({ yard: url("yard"), changing: url("changing") }, { cors: [site.origin] });
  browser = await startChromium();
  await Promise.all([gateway.whenLive("yard"), gateway.whenLive("changing")]);
});

after(async () => {
  await browser?.close();
  await gateway?.stop();
  await cameras?.stop();
  site?.close();
});

/** A page where the player has found its distance to live, and notes its pictures. */
async function playing(name, stream) {
  const page = await site.play(browser, name, new URL(`${stream}/index.m3u8`, gateway.base).href);
  await page.waitForTimeout(4000);
  await page.evaluate(() => {
    const video = document.querySelector("video");
    window.shown = [];
    const note = (now, { width, mediaTime }) => {
      window.shown.push({ now, width, mediaTime });
      video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
  });
  return page;
}

/** The longest time without a new picture, in milliseconds, and the widths seen. */
async function seen(page) {
  const shown = await page.evaluate(() => window.shown.concat({ now: performance.now() }));
  const still = shown.slice(1).map(({ now }, at) => now - shown[at].now);
  const widths = [...new Set(shown.slice(0, -1).map(({ width }) => width))].sort();
  return { still: Math.round(Math.max(...still)), widths, last: shown.at(-2) };
}

/** Faults that ended it; that there was nothing for a while, a player may say. */
const fatal = async (page) => (await site.faults(page)).filter((fault) => /fatal/.test(fault));

test("a picture that changes its size plays on at once", async () => {
  const pages = await Promise.all(PLAYERS.map((name) => playing(name, "changing")));
  await pages[0].waitForTimeout(24_000); // It changes every ten seconds.
  for (const [at, page] of pages.entries()) {
    const { still, widths } = await seen(page);
    console.log(`${PLAYERS[at]}: stood still for ${still} ms, ${widths} wide`);
    await page.screenshot({ path: `${ARTEFACTS}/hls-change-${PLAYERS[at]}.png` });
    assert.deepEqual(widths, [320, 640]);
    assert.ok(still <= LONGER * stretch, `${PLAYERS[at]} stood still for ${still} ms`);
    assert.deepEqual(await fatal(page), []);
    await page.close();
  }
});

test("a camera that comes back plays on, without a stall longer than its absence", async () => {
  const pages = await Promise.all(PLAYERS.map((name) => playing(name, "yard")));
  const frames = () => gateway.metric('porthole_source_frames_total{media="video",stream="yard"}');
  assert.ok((await frames()) > 0, "the metric has another name");
  const { port } = cameras;
  await cameras.stop();
  const left = Date.now();
  const before = await frames();
  await new Promise((resolve) => setTimeout(resolve, 4000));
  cameras = await startCameras(["yard=gop-1s", "changing=gop-1s+small"], ["--port", String(port)]);
  await until("frames again", async () => (await frames()) > before, 40_000);
  const away = Date.now() - left;
  await pages[0].waitForTimeout(12_000);
  for (const [at, page] of pages.entries()) {
    const { still, last } = await seen(page);
    console.log(`${PLAYERS[at]}: stood still for ${still} ms, the camera was away for ${away} ms`);
    await page.screenshot({ path: `${ARTEFACTS}/hls-return-${PLAYERS[at]}.png` });
    assert.ok(still <= away + BEHIND * stretch, `${PLAYERS[at]}: ${still} ms, the camera ${away} ms: ${await site.faults(page)}`);
    const now = await page.evaluate(() => performance.now());
    assert.ok(now - last.now < 1000 * stretch, `${PLAYERS[at]} shows nothing at the end`);
    assert.deepEqual(await fatal(page), []);
    await page.close();
  }
});
