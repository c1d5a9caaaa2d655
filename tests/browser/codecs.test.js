// Cameras of codecs that browsers have and cameras seldom: over WebRTC they play
// as they are, with their sound; over HLS and MSE the page says why not.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { assertFresh, looks } from "./counter.js";
import { startHouse, until } from "./house.js";
import { inbound, playing } from "./viewer.js";

const MOUNTS = {
  "vp8-opus": ["video/VP8", "audio/opus"],
  "vp9-g722": ["video/VP9", "audio/G722"],
  "av1-l16": ["video/AV1", "audio/PCMU"],
};
let house, cameras, gateway, browser;

before(async () => {
  house = await startHouse(Object.keys(MOUNTS));
  ({ cameras, gateway, browser } = house);
});

after(() => house?.stop());

/** What a track is decoded as. */
async function codec(page, kind) {
  const { codecId } = await inbound(page, kind);
  return await page.evaluate(async (id) => (await window.peers.at(-1).getStats()).get(id).mimeType, codecId);
}

for (const [mount, [video, audio]] of Object.entries(MOUNTS)) {
  test(`${mount} plays over WebRTC as ${video} with ${audio}`, async (context) => {
    const page = await playing(browser, gateway, mount);
    context.after(() => page.close());
    await page.waitForTimeout(2000); // The burst from the last key frame is over.
    const fresh = { least: 50, behind: 500 };
    const seen = await looks(page, cameras.mounts[mount], cameras.started[mount], fresh);
    console.log(`${mount}, camera to screen: ${JSON.stringify(seen)}`);
    assertFresh(seen, cameras.mounts[mount], fresh);
    assert.equal(await codec(page, "video"), video);
    await page.getByRole("button", { name: "Unmute" }).click();
    await until("sound", async () => (await inbound(page, "audio")).totalAudioEnergy > 0, 5000);
    assert.equal(await codec(page, "audio"), audio);
    assert.deepEqual(page.complaints, []);
  });
}

test("over HLS each is refused by its name, with the way out", async () => {
  for (const mount of Object.keys(MOUNTS)) {
    const answer = await fetch(new URL(`${mount}/index.m3u8`, gateway.base));
    const problem = await answer.json();
    assert.equal(problem.code, "codec.video_unplayable");
    assert.match(problem.detail, /VP8|VP9|AV1/);
  }
});
