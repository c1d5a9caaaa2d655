// HLS in players that know less, or other things, than hls.js: shaka-player with
// low latency, the first to watch a stream; and Chromium's own.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ARTEFACTS, startGateway, startHouse, until } from "./house.js";
import { startSite } from "./players.js";

const MOUNTS = ["h264-pcma", "h264-aac", "bframes"];
/** How long each plays, and how much of that it must show, in seconds. */
const WATCHED = Number(process.env.HLS_SECONDS ?? 12);
const SHOWN = WATCHED * 0.75;
/** Chromium 156 ends with an error where it has all of a young playlist before it
 *  begins to play; so it gets segments of which two are all it wants to have. */
const LONG = { segment: "6s", always: true };
let house, long, site;

before(async () => {
  site = await startSite();
  house = await startHouse(MOUNTS, { cors: [site.origin] });
  const url = (mount) => `rtsp://127.0.0.1:${house.cameras.port}/${mount}`;
  const streams = Object.fromEntries(MOUNTS.map((mount) => [mount, url(mount)]));
  long = await startGateway(streams, { cors: [site.origin], hls: LONG });
});

after(async () => {
  site?.close();
  await long?.stop();
  await house?.stop();
});

const whole = async (url) => ((await (await fetch(url)).text()).match(/#EXTINF/g) ?? []).length;

for (const name of ["shaka", "chromium"]) {
  for (const mount of MOUNTS) {
    test(`${name} plays ${mount} without a fault`, async () => {
      const gateway = name === "chromium" ? long : house.gateway;
      if (name === "chromium") {
        const list = new URL(`${mount}/hls/media.m3u8`, gateway.base);
        await until("three segments", async () => (await whole(list)) >= 3, 60_000);
      }
      const page = await site.play(house.browser, name, new URL(`${mount}/index.m3u8`, gateway.base).href);
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
      await page.screenshot({ path: join(ARTEFACTS, `hls-${name}-${mount}.png`) });
      assert.deepEqual(await site.faults(page), []);
      assert.ok(shown >= SHOWN, `${shown} s in ${WATCHED} s`);
      assert.ok(pictures > 100 && width === house.cameras.mounts[mount].width, `${pictures} of ${width}`);
      assert.ok(sound > 0, "no sound was decoded");
      assert.deepEqual(page.complaints, []);
      await page.close();
    });
  }
}
