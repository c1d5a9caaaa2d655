// HLS in shaka-player with low latency, for cameras with sound of each kind and
// with B-frames.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ARTEFACTS, openPage, startHouse } from "./house.js";

const MOUNTS = ["h264-pcma", "h264-aac", "bframes"];
/** How long each plays, and how much of that it must show, in seconds. */
const WATCHED = 12;
const SHOWN = 9;
let house, site;

before(async () => {
  // The players' page is of another origin, as on somebody's own site.
  const page = "<!doctype html><link rel=icon href='data:,'><video muted autoplay playsinline></video>";
  site = createServer((_, response) => response.setHeader("Content-Type", "text/html").end(page));
  await once(site.listen(0, "127.0.0.1"), "listening");
  const cors = [`http://127.0.0.1:${site.address().port}`];
  house = await startHouse(MOUNTS, { cors, hls: { always: true } });
  // As the first player of a stream that has a segment or two, shaka 5.2 fails
  // inside itself: it requests a segment without a URI.
  await new Promise((resolve) => setTimeout(resolve, 14_000));
});

after(async () => {
  site?.close();
  await house?.stop();
});

/** Each starts to play `url` in the page and notes faults. */
const PLAYERS = {
  async shaka(page, url) {
    const script = "node_modules/shaka-player/dist/shaka-player.compiled.js";
    await page.addScriptTag({ path: join(import.meta.dirname, script) });
    await page.evaluate(async (url) => {
      window.faults = [];
      shaka.polyfill.installAll();
      const player = new shaka.Player();
      await player.attach(document.querySelector("video"));
      player.configure({ streaming: { lowLatencyMode: true, preferNativeHls: false } });
      player.addEventListener("error", ({ detail }) => window.faults.push(`shaka ${detail.code} ${detail.data}`));
      await player.load(url);
    }, url);
  },
};

for (const [name, start] of Object.entries(PLAYERS)) {
  for (const mount of MOUNTS) {
    test(`${name} plays ${mount} without a fault`, async () => {
      const page = await openPage(house.browser, `http://127.0.0.1:${site.address().port}/`);
      await start(page, new URL(`${mount}/index.m3u8`, house.gateway.base).href);
      const time = () => page.evaluate(() => document.querySelector("video").currentTime);
      const faults = () => page.evaluate(() => window.faults);
      await page
        .waitForFunction(() => document.querySelector("video").currentTime > 0, null, { timeout: 30_000 })
        .catch(async ({ message }) => assert.fail(`${message}: ${await faults()}`));
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
      assert.deepEqual(await faults(), []);
      assert.ok(shown >= SHOWN, `${shown} s in ${WATCHED} s`);
      assert.ok(pictures > 100 && width === house.cameras.mounts[mount].width, `${pictures} of ${width}`);
      assert.ok(sound > 0, "no sound was decoded");
      assert.deepEqual(page.complaints, []);
      await page.close();
    });
  }
}
