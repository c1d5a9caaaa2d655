// WebRTC in Chromium, by the pages that people open.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { assertFresh, latency, looks, progress, watch } from "./counter.js";
import { ARTEFACTS, openPage, startHouse, until } from "./house.js";
import { inbound, keepPeers, playing } from "./viewer.js";

const MOUNTS = ["h264-pcma", "h264-aac", "long-gop"];
let house, cameras, gateway, browser;

before(async () => {
  house = await startHouse(MOUNTS);
  ({ cameras, gateway, browser } = house);
});

after(() => house?.stop());

test("pictures of the right size advance, at most 500 ms behind the camera, with sound", async () => {
  const page = await playing(browser, gateway, "h264-pcma");
  await page.waitForTimeout(2000); // The burst from the last key frame is over.
  const camera = cameras.mounts["h264-pcma"];
  const fresh = { least: 70, behind: 500 };
  const seen = await looks(page, camera, cameras.started["h264-pcma"], fresh);
  console.log(`WebRTC, camera to screen: ${JSON.stringify(seen)}`);
  assertFresh(seen, camera, fresh);

  await page.getByRole("button", { name: "Unmute" }).click();
  await until("sound", async () => (await inbound(page, "audio")).totalAudioEnergy > 0, 5000);
  await page.screenshot({ path: `${ARTEFACTS}/whep.png` });
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("with a key frame every 10 s the picture is there at once", async () => {
  // Well after the last key frame, and well before the next.
  const camera = cameras.mounts["long-gop"];
  const loop = camera.frames / camera.fps;
  const place = () => (Date.now() / 1000 - cameras.started["long-gop"]) % loop;
  await until("the middle of a group of pictures", () => place() > 3 && place() < 5, 12_000);

  const url = new URL("long-gop/?mode=webrtc", gateway.base).href;
  const page = await openPage(browser, url, { before: keepPeers });
  await page.waitForSelector("porthole-camera[data-state=live]", { timeout: 3000 });
  const video = await inbound(page, "video");
  assert.ok(video.framesDecoded > 0);
  await page.waitForTimeout(1000);
  const { pictures } = await watch(page, 1500);
  const delay = latency(pictures, camera, cameras.started["long-gop"]);
  assert.ok(delay.median <= 500, JSON.stringify(delay));
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("sound that WebRTC cannot carry is left out, and the page says so", async () => {
  const page = await playing(browser, gateway, "h264-aac");
  const { pictures, width } = await watch(page, 2000);
  assert.equal(width, 640);
  assert.ok(progress(pictures, 250).steps >= 30);
  assert.match(await page.textContent(".notice"), /No sound over WebRTC/);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("the sound button works from the keyboard", async () => {
  const page = await playing(browser, gateway, "h264-pcma");
  await page.getByRole("button", { name: "Unmute" }).press("Enter");
  assert.equal(await page.locator("video").evaluate((video) => video.muted), false);
  await page.getByRole("button", { name: "Mute", exact: true }).press("Enter");
  assert.equal(await page.locator("video").evaluate((video) => video.muted), true);
  await page.close();
});

test("leaving the page ends the session on the gateway", async () => {
  const sessions = () => gateway.metric('porthole_sessions{output="whep",state="connected"}');
  await until("the other tests' viewers gone", async () => (await sessions()) === 0, 20_000);
  const page = await playing(browser, gateway, "h264-pcma");
  await until("the session", async () => (await sessions()) === 1, 5000);
  await page.goto("about:blank");
  await until("the session's end", async () => (await sessions()) === 0, 15_000);
  await page.close();
});
