// A line too narrow for the main stream, in a browser: the picture goes on in
// another size and in the same session, and comes back.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { slack, startCameras, startChromium, startGateway, until } from "./house.js";
import { startLine, through } from "./line.js";
import { between, inbound, playing } from "./viewer.js";

// The main stream takes 300 kbit/s, its sound 90, the substream 25.
const NARROW = 150_000;
const MAIN = 1280;
const SUB = 320;
let cameras, gateway, browser;

before(async () => {
  cameras = await startCameras(["h264-pcma", "gate=h264-pcma", "h264-slow"]);
  const url = (mount) => `rtsp://127.0.0.1:${cameras.port}/${mount}`;
  const yard = { source: url("h264-pcma"), substream: url("h264-slow") };
  gateway = await startGateway({ yard, gate: url("gate") });
  browser = await startChromium();
  await Promise.all(["yard", "gate"].map(gateway.whenLive));
});

after(async () => {
  await browser?.close();
  await gateway?.stop();
  await cameras?.stop();
});

/** Waits for pictures of a width; how long that took. */
async function untilWide(page, width, ms) {
  const began = Date.now();
  const last = {};
  const seen = async () => {
    Object.assign(last, await inbound(page));
    return last.frameWidth === width;
  };
  await until(`pictures ${width} wide`, seen, ms).catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify(last)}`);
  });
  return Date.now() - began;
}

/** What comes within 4 s. */
async function look(page) {
  const before = await inbound(page);
  await page.waitForTimeout(4000);
  return between(before, await inbound(page));
}

const sessions = (page) => page.evaluate(() => window.peers.length);
const changes = (to) => gateway.metric(`porthole_webrtc_quality_changes_total{to="${to}"}`);

test("a line that becomes narrow shows the substream, and the main stream once it is wide", async (context) => {
  const patience = slack();
  const line = await startLine(7);
  context.after(() => line.stop());
  const page = await playing(browser, gateway, "yard", (page) => through(page, line));
  await untilWide(page, MAIN, 10_000);
  await page.waitForTimeout(5000);

  line.rate = NARROW;
  const down = await untilWide(page, SUB, 20_000);
  await page.waitForTimeout(2000);
  const narrow = await look(page);
  line.rate = 0;
  const up = await untilWide(page, MAIN, 30_000);
  await page.waitForTimeout(2000);
  const wide = await look(page);

  const said = JSON.stringify({ down, up, narrow, wide });
  console.log(said);
  assert.ok(down < 3000 * patience, said);
  // The substream has five pictures a second, the main stream 25.
  assert.ok(narrow.frames_per_second >= 4 && narrow.frozen < 0.1, said);
  assert.ok(wide.frames_per_second >= 20 / patience, said);
  assert.equal(await sessions(page), 1, said);
  assert.deepEqual([await changes("sub"), await changes("main"), await changes("key_frames")], [1, 1, 0]);
  await page.close();
});

test("a viewer that comes by a narrow line is shown the substream in its first session", async (context) => {
  const line = await startLine(8);
  context.after(() => line.stop());
  line.rate = NARROW;
  const page = await playing(browser, gateway, "yard", (page) => through(page, line));
  const down = await untilWide(page, SUB, 10_000);
  const narrow = await look(page);
  const said = JSON.stringify({ down, narrow });
  console.log(said);
  assert.ok(narrow.frames_per_second >= 4, said);
  assert.equal(await sessions(page), 1, said);
  await page.close();
});

test("key frames far between, where there is no substream, end no session; silence does", async (context) => {
  const line = await startLine(9);
  context.after(() => line.stop());
  const page = await playing(browser, gateway, "gate", (page) => through(page, line));
  await page.waitForTimeout(5000);
  line.rate = NARROW;
  await until("key frames alone", async () => (await changes("key_frames")) === 1, 10_000);
  const before = await inbound(page);
  // So long a page without the gateway's signs of life waits only for a fifth.
  await page.waitForTimeout(12_000);
  const sparse = between(before, await inbound(page));
  console.log(JSON.stringify(sparse));
  assert.equal(await sessions(page), 1);
  assert.ok(sparse.frames_per_second > 0.1 && sparse.frames_per_second < 2, JSON.stringify(sparse));

  line.rate = 0;
  line.dead = true;
  await until("another session", async () => (await sessions(page)) === 2, 10_000);
  line.dead = false;
  await until("pictures", async () => (await inbound(page))?.framesDecoded > 0, 20_000);
  await page.close();
});

test("where pictures are rare since the line is narrow, the page says that, and does not blame the camera", async (context) => {
  const line = await startLine(10);
  context.after(() => line.stop());
  const page = await playing(browser, gateway, "gate", (page) => through(page, line));
  await page.waitForTimeout(5000);
  line.rate = 64_000;
  const seen = new Set();
  const words = async () => {
    const text = await page.locator(".message .title").textContent();
    if (text) seen.add(text);
    return /too slow/.test(text);
  };
  await until("the line is named", words, 30_000).catch((error) => {
    throw new Error(`${error.message}: ${[...seen].join(" | ")}`);
  });
  console.log([...seen].join(" | "));
  assert.match(await page.locator(".message .hint").textContent(), /substream/);
  await page.close();
});
