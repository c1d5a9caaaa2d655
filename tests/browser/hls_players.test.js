// HLS in players that know less, or other things, than hls.js, each the first to
// watch a stream: shaka-player with low latency, and Chromium's own.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ARTEFACTS, startHouse } from "./house.js";
import { startSite } from "./players.js";

const MOUNTS = ["h264-pcma", "h264-aac", "bframes"];
const PLAYERS = ["shaka", "chromium"];
/** How long each plays, and how much of that it must show, in seconds. */
const WATCHED = Number(process.env.HLS_SECONDS ?? 12);
const SHOWN = WATCHED * 0.75;
let house, site;

before(async () => {
  site = await startSite();
  // Each player finds a stream that nobody has watched before.
  const mounts = PLAYERS.flatMap((name) => MOUNTS.map((mount) => `${name}-${mount}=${mount}`));
  house = await startHouse(mounts, { cors: [site.origin] });
});

after(async () => {
  site?.close();
  await house?.stop();
});

for (const name of PLAYERS) {
  for (const mount of MOUNTS) {
    test(`${name} plays ${mount} without a fault, as the first to watch`, async () => {
      const stream = `${name}-${mount}`;
      const page = await site.play(house.browser, name, new URL(`${stream}/index.m3u8`, house.gateway.base).href);
      const time = () => page.evaluate(() => document.querySelector("video").currentTime);
      const begun = await time();
      await page.waitForTimeout(WATCHED * 1000);
      const shown = (await time()) - begun;
      const { pictures, sound, width } = await page.evaluate(() => {
        const video = document.querySelector("video");
        const pictures = video.getVideoPlaybackQuality().totalVideoFrames;
        return { pictures, sound: video.webkitAudioDecodedByteCount, width: video.videoWidth };
      });
      console.log(`${name}, ${mount}: ${shown.toFixed(1)} s in ${WATCHED} s, ${pictures} pictures`);
      await page.screenshot({ path: join(ARTEFACTS, `hls-${stream}.png`) });
      assert.deepEqual(await site.faults(page), []);
      assert.ok(shown >= SHOWN, `${shown} s in ${WATCHED} s`);
      assert.ok(pictures > 100 && width === house.cameras.mounts[stream].width, `${pictures} of ${width}`);
      assert.ok(sound > 0, "no sound was decoded");
      assert.deepEqual(page.complaints, []);
      await page.close();
    });
  }
}
