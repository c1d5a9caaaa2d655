// Low-latency HLS in Chromium, by hls.js as the test client and by the page.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { assertFresh, looks, progress, watch } from "./counter.js";
import { ARTEFACTS, openPage, startHouse } from "./house.js";
import { startSite } from "./players.js";

const MOUNTS = ["h264-pcma", "h264-aac", "bframes", "h265-aac"];
let house, cameras, gateway, browser, site;

before(async () => {
  site = await startSite();
  house = await startHouse(MOUNTS, { cors: [site.origin] });
  ({ cameras, gateway, browser } = house);
});

after(async () => {
  site?.close();
  await house?.stop();
});

for (const mount of ["h264-pcma", "h264-aac", "bframes"]) {
  test(`${mount}: pictures of the right size advance, at most 2.5 s behind the camera`, async () => {
    const page = await site.play(browser, "hls", new URL(`${mount}/index.m3u8`, gateway.base).href);
    await page.waitForTimeout(6000); // hls.js first finds its distance to live.
    const camera = cameras.mounts[mount];
    const fresh = { least: 60, behind: 2500 };
    const seen = await looks(page, camera, cameras.started[mount], fresh);
    console.log(`LL-HLS ${mount}, camera to screen: ${JSON.stringify(seen)}`);
    assertFresh(seen, camera, fresh);
    const heard = await page.evaluate(
      () => document.querySelector("video").webkitAudioDecodedByteCount,
    );
    assert.ok(heard > 0, "no sound was decoded");
    assert.deepEqual(await site.faults(page), []);
    assert.deepEqual(page.complaints, []);
    await page.screenshot({ path: `${ARTEFACTS}/hls-${mount}.png` });
    await page.close();
  });
}

test("the stream's page plays HLS by itself where it is told to", async () => {
  const page = await openPage(browser, new URL("h264-aac/?mode=hls", gateway.base).href);
  await page.waitForSelector("porthole-camera[data-state=live]", { timeout: 20_000 });
  const { pictures, width } = await watch(page, 3000);
  assert.equal(width, 640);
  assert.ok(progress(pictures, 250).steps >= 40);
  assert.equal(await page.locator(".badge").innerText(), "Live · HLS");
  assert.deepEqual(page.complaints, []);
  await page.screenshot({ path: `${ARTEFACTS}/hls-page.png` });
  await page.close();
});

for (const [mount, video, audio] of [
  ["h265-aac", "hevc", "aac"],
  ["h264-pcma", "h264", "flac"],
]) {
  test(`ffprobe finds ${video} and ${audio} in ${mount}`, async () => {
    const playlist = new URL(`${mount}/index.m3u8`, gateway.base).href;
    const arguments_ = ["-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", playlist];
    const { stdout, stderr } = await promisify(execFile)("ffprobe", arguments_, { timeout: 60_000 });
    assert.equal(stderr, "");
    assert.deepEqual([...new Set(stdout.trim().split(/\s+/))].sort(), [video, audio].sort());
  });
}
