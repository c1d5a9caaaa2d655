// A camera that comes back, and one that changes its picture's size, in players
// of HLS that others wrote: they play on, and stand still no longer than it did.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ARTEFACTS, slack, startCameras, startChromium, startGateway, until } from "./house.js";
import { startSite } from "./players.js";

const PLAYERS = ["hls", "shaka"];
/** The one that goes away sends a key frame every ten seconds, so that nobody can wait for one. */
const CAMERAS = ["yard=long-gop", "changing=gop-1s+small"];
/** How much longer a player may stand still for a change than it does without, and how long
 *  after one it still counts, in milliseconds. */
const LONGER = 500;
const AFTER = 1500;
/** How much longer than there was nothing new to fetch, in milliseconds: what a busy machine
 *  and the measuring cost. On a quiet one both stand for less. */
const BEHIND = 500;
/** Longer than a slow machine takes for a picture, in milliseconds. */
const STAND = 1000;
/** How long after the camera's first picture at the latest there is something new, in
 *  milliseconds: a part, and what notices it. */
const OFFERED = 2500;
let cameras, gateway, browser, site, stretch;

before(async () => {
  stretch = slack();
  site = await startSite();
  cameras = await startCameras(CAMERAS);
  const url = (name) => `rtsp://127.0.0.1:${cameras.port}/${name}`;
  gateway = await startGateway({ yard: url("yard"), changing: url("changing") }, { cors: [site.origin] });
  browser = await startChromium();
  await Promise.all([gateway.whenLive("yard"), gateway.whenLive("changing")]);
  await listed();
});

after(async () => {
  await browser?.close();
  await gateway?.stop();
  await cameras?.stop();
  site?.close();
});

/** How many segments there are of the camera that goes away: from the first time on, more. */
const listed = async () => (await (await fetch(new URL("yard/hls/media.m3u8", gateway.base))).text()).split("#EXTINF").length - 1;

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

/** The longest time in which a player stood still, in milliseconds, and the widths seen. What
 *  it shows for less than a second between two stands does not part them: hls.js shows a
 *  picture where it tries to go on, and cannot. */
async function seen(page) {
  const shown = await page.evaluate(() => window.shown.concat({ now: performance.now() }));
  const still = shown.slice(1).map(({ now }, at) => now - shown[at].now);
  // Pictures come in order; a few between two stands belong to them.
  let [longest, stand, between] = [0, 0, 0];
  for (const pause of still) {
    if (pause < STAND) between += pause;
    if (between > STAND) [stand, between] = [0, 0];
    if (pause >= STAND) [stand, between] = [stand + between + pause, 0];
    longest = Math.max(longest, stand);
  }
  // The stand in which the picture changes its size or right after it, and the longest one
  // besides: what the machine alone does.
  const changes = shown.flatMap(({ width, now }, at) => (at && width && width !== shown[at - 1].width ? [now] : []));
  const near = (at) => changes.some((change) => shown[at].now < change + AFTER && change <= shown[at + 1].now);
  const [changing, besides] = [true, false].map((wanted) => Math.round(Math.max(0, ...still.filter((_, at) => near(at) === wanted))));
  const widths = [...new Set(shown.slice(0, -1).map(({ width }) => width))].sort();
  return { still: Math.round(Math.max(longest, ...still)), changing, besides, widths, last: shown.at(-2) };
}

/** Watches what a stream's playlist offers until it is stopped, and then says for how long at
 *  most it had no new media, in milliseconds: what the machine and the gateway cost is in it. */
function offers(stream) {
  const url = new URL(`${stream}/hls/media.m3u8`, gateway.base);
  let [newest, since, longest, stopped] = ["", 0, 0, false];
  const watched = (async () => {
    while (!stopped) {
      const lines = (await (await fetch(url)).text()).split("\n");
      const part = lines.filter((line) => line.startsWith("#EXT-X-PART:") && !line.includes("GAP=YES")).at(-1);
      const now = performance.now();
      if (part !== newest) {
        if (newest) longest = Math.max(longest, now - since);
        [newest, since] = [part, now];
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  return async () => {
    stopped = true;
    await watched;
    return Math.round(longest);
  };
}

/** Faults that ended it; that there was nothing for a while, a player may say. */
const fatal = async (page) => (await site.faults(page)).filter((fault) => /fatal/.test(fault));

test("a picture that changes its size plays on at once", async () => {
  const pages = await Promise.all(PLAYERS.map((name) => playing(name, "changing")));
  await pages[0].waitForTimeout(24_000); // It changes every ten seconds.
  for (const [at, page] of pages.entries()) {
    const { changing, besides, widths } = await seen(page);
    console.log(`${PLAYERS[at]}: stood still for ${changing} ms where it changed, ${besides} ms besides, ${widths} wide`);
    await page.screenshot({ path: `${ARTEFACTS}/hls-change-${PLAYERS[at]}.png` });
    assert.deepEqual(widths, [320, 640]);
    assert.ok(changing <= besides + LONGER * stretch, `${PLAYERS[at]} stood still for ${changing} ms, ${besides} ms besides`);
    assert.deepEqual(await fatal(page), []);
    await page.close();
  }
});

test("a camera that comes back plays on, without a stall longer than its absence", async () => {
  await until("segments to begin with", async () => (await listed()) >= 3, 60_000);
  const pages = await Promise.all(PLAYERS.map((name) => playing(name, "yard")));
  const frames = () => gateway.metric('porthole_source_frames_total{media="video",stream="yard"}');
  assert.ok((await frames()) > 0, "the metric has another name");
  const offered = offers("yard");
  const { port } = cameras;
  const left = performance.now();
  await cameras.stop();
  const before = await frames();
  await new Promise((resolve) => setTimeout(resolve, 4000));
  cameras = await startCameras(CAMERAS, ["--port", String(port)]);
  await until("frames again", async () => (await frames()) > before, 40_000);
  const away = Math.round(performance.now() - left);
  await pages[0].waitForTimeout(12_000);
  const without = await offered();
  const slow = Math.max(stretch, slack());
  console.log(`the camera was away for ${away} ms, the playlist without anything new for ${without} ms`);
  // What the players are measured by must itself be right.
  assert.ok(without <= away + OFFERED * stretch, `${without} ms without anything new, the camera ${away} ms`);
  for (const [at, page] of pages.entries()) {
    const { still, last } = await seen(page);
    console.log(`${PLAYERS[at]}: stood still for ${still} ms`);
    await page.screenshot({ path: `${ARTEFACTS}/hls-return-${PLAYERS[at]}.png` });
    assert.ok(still <= without + BEHIND * Math.min(slow, 1.5), `${PLAYERS[at]}: ${still} ms, nothing new for ${without} ms: ${await site.faults(page)}`);
    const now = await page.evaluate(() => performance.now());
    assert.ok(now - last.now < 1000 * slow, `${PLAYERS[at]} shows nothing at the end`);
    assert.deepEqual(await fatal(page), []);
    await page.close();
  }
});
