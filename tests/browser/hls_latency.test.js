// How far behind the camera low-latency HLS is at hls.js, by the frame number in
// the picture: with parts of 200 ms, and with what the gateway does by itself.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { assertFresh, looks } from "./counter.js";
import { ARTEFACTS, slack, startCameras, startChromium, startGateway } from "./house.js";
import { startSite } from "./players.js";

const MOUNT = "gop-1s";
let cameras, browser, site, stretch;
const gateways = [];

before(async () => {
  stretch = slack();
  site = await startSite();
  cameras = await startCameras([MOUNT]);
  browser = await startChromium();
});

after(async () => {
  await browser?.close();
  await Promise.all(gateways.map((gateway) => gateway.stop()));
  await cameras?.stop();
  site?.close();
});

for (const [part, promised] of [["200ms", 1000], [undefined, 1500]]) {
  test(`parts of ${part ?? "the usual length"}: at most ${promised} ms from camera to screen`, async () => {
    const source = `rtsp://127.0.0.1:${cameras.port}/${MOUNT}`;
    const hls = part ? { part } : {};
    const gateway = await startGateway({ [MOUNT]: source }, { cors: [site.origin], hls });
    gateways.push(gateway);
    await gateway.whenLive(MOUNT);
    const page = await site.play(browser, "hls", new URL(`${MOUNT}/index.m3u8`, gateway.base).href);
    await page.waitForTimeout(6000); // It first finds its distance to live.
    const fresh = { least: 60, behind: promised * stretch };
    const seen = await looks(page, cameras.mounts[MOUNT], cameras.started[MOUNT], fresh);
    console.log(`LL-HLS, parts of ${part ?? "500ms"}, camera to screen: ${JSON.stringify(seen)}`);
    await page.screenshot({ path: `${ARTEFACTS}/hls-latency-${part ?? "usual"}.png` });
    assertFresh(seen, cameras.mounts[MOUNT], fresh);
    assert.deepEqual(await site.faults(page), []);
    await page.close();
  });
}
