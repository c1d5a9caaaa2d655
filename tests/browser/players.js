// HLS players that others wrote, on a page of another origin than the gateway's,
// as on somebody's own site.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { join } from "node:path";
import { openPage } from "./house.js";

const PAGE = "<!doctype html><link rel=icon href='data:,'><video muted autoplay playsinline></video>";
const script = (name) => ({ path: join(import.meta.dirname, "node_modules", name) });

/** Each starts to play `url` in the page and notes faults in `window.faults`. */
const PLAYERS = {
  async hls(page, url) {
    await page.addScriptTag(script("hls.js/dist/hls.min.js"));
    await page.evaluate((url) => {
      // Without the second setting hls.js never catches up what it lost by
      // starting: it would stay a part or two farther behind than it means to.
      window.player = new Hls({ lowLatencyMode: true, maxLiveSyncPlaybackRate: 1.2 });
      player.on(Hls.Events.ERROR, (_, { details, fatal, reason }) => {
        window.faults.push(`${details}${fatal ? " (fatal)" : ""} ${reason ?? ""}`);
      });
      player.loadSource(url);
      player.attachMedia(document.querySelector("video"));
    }, url);
  },
  async shaka(page, url) {
    await page.addScriptTag(script("shaka-player/dist/shaka-player.compiled.js"));
    await page.evaluate(async (url) => {
      shaka.polyfill.installAll();
      window.player = new shaka.Player();
      await player.attach(document.querySelector("video"));
      player.configure({ streaming: { lowLatencyMode: true, preferNativeHls: false } });
      // It calls a part that never came, and which it asks for again, critical.
      player.addEventListener("error", ({ detail }) => window.faults.push(`shaka ${detail.code} ${detail.data}`));
      await player.load(url).catch((error) => window.faults.push(`load ${error.code} (fatal) ${error.message}`));
    }, url);
  },
  async chromium(page, url) {
    await page.evaluate((url) => {
      const video = document.querySelector("video");
      video.addEventListener("error", () => window.faults.push(`${video.error.code} (fatal) ${video.error.message}`));
      video.src = url;
    }, url);
  },
};

/** Players there are. */
export const NAMES = Object.keys(PLAYERS);

/** A site with a page for players: `{ origin, play, faults, close }`. */
export async function startSite() {
  const server = createServer((_, response) => response.setHeader("Content-Type", "text/html").end(PAGE));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const origin = `http://127.0.0.1:${server.address().port}`;
  const faults = (page) => page.evaluate(() => window.faults);
  return {
    origin,
    faults,
    close: () => server.close(),
    /** A page in which the player `name` has begun to show `url`. */
    async play(browser, name, url, patience = 30_000) {
      const page = await openPage(browser, origin, { before: (page) => page.addInitScript(() => (window.faults = [])) });
      await PLAYERS[name](page, url);
      await page
        .waitForFunction(() => document.querySelector("video").currentTime > 0.2, null, { timeout: patience })
        .catch(async ({ message }) => assert.fail(`${name}, ${url}: ${message}: ${await faults(page)}`));
      return page;
    },
  };
}
