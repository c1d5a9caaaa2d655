// HLS players that others wrote, on a page of another origin than the gateway's,
// as on somebody's own site.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { join } from "node:path";
import { openPage } from "./house.js";

const PAGE = "<!doctype html><link rel=icon href='data:,'>";
const VIDEO = "<video muted autoplay playsinline></video>";

/** Each begins to play `url` in `video`, and tells `fault` what goes wrong. */
const PLAYERS = {
  hls: {
    script: "hls.js/dist/hls.min.js",
    start(video, url, fault) {
      // Without the second setting hls.js never catches up what it lost by
      // starting: it would stay a part or two farther behind than it means to.
      const player = new Hls({ lowLatencyMode: true, maxLiveSyncPlaybackRate: 1.2 });
      player.on(Hls.Events.ERROR, (_, { details, fatal, reason }) =>
        fault(`${details}${fatal ? " (fatal)" : ""} ${reason ?? ""}`),
      );
      player.loadSource(url);
      player.attachMedia(video);
      return player;
    },
  },
  shaka: {
    script: "shaka-player/dist/shaka-player.compiled.js",
    async start(video, url, fault) {
      shaka.polyfill.installAll();
      const player = new shaka.Player();
      await player.attach(video);
      player.configure({ streaming: { lowLatencyMode: true, preferNativeHls: false } });
      // It calls a part that never came, and which it asks for again, critical.
      player.addEventListener("error", ({ detail }) => fault(`shaka ${detail.code ?? detail} ${detail.data ?? ""}`));
      player.load(url).catch((error) => fault(`load ${error.code} (fatal) ${error.message}`));
      return player;
    },
  },
  chromium: {
    start(video, url, fault) {
      video.addEventListener("error", () => fault(`${video.error.code} (fatal) ${video.error.message}`));
      video.src = url;
    },
  },
};

/** Players there are. */
export const NAMES = Object.keys(PLAYERS);

/** Loads the player `name` into a page, as `window.start(video, url, fault)`. */
async function equip(page, name) {
  const { script, start } = PLAYERS[name];
  if (script) await page.addScriptTag({ path: join(import.meta.dirname, "node_modules", script) });
  await page.addScriptTag({ content: `window.player = { ${start} }` });
}

/** A site with a page for players: `{ origin, play, wall, faults, close }`. */
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
      const page = await openPage(browser, origin);
      await equip(page, name);
      await page.evaluate(
        async ([html, url]) => {
          document.body.innerHTML = html;
          window.faults = [];
          await player.start(document.querySelector("video"), url, (fault) => window.faults.push(fault));
        },
        [VIDEO, url],
      );
      await page
        .waitForFunction(() => document.querySelector("video").currentTime > 0.2, null, { timeout: patience })
        .catch(async ({ message }) => assert.fail(`${name}, ${url}: ${message}: ${await faults(page)}`));
      return page;
    },
    /** A page whose `show(kind, url)` has the player `name` begin to play another one, or
     *  the same anew, and `leave(kinds)` ends some; `window.screens` has a video of each, with its `faults`, when it
     *  `waited`, and how long it took until it had `begun`. */
    async wall(browser, name) {
      const page = await openPage(browser, origin);
      await equip(page, name);
      await page.evaluate((html) => {
        document.body.style = "display: grid; grid-template-columns: repeat(4, 1fr); font: 12px sans-serif";
        window.screens = {};
        window.show = async (kind, url) => {
          window.screens[kind]?.video.parentNode.remove();
          const figure = document.body.appendChild(document.createElement("figure"));
          figure.style.margin = 0;
          figure.innerHTML = `${html}<figcaption>${kind}</figcaption>`;
          const video = figure.firstChild;
          video.style = "width: 100%; aspect-ratio: 16/9";
          const screen = (window.screens[kind] = { video, faults: [], waited: [] });
          video.addEventListener("waiting", () => screen.waited.push(performance.now()));
          const asked = performance.now();
          // A first picture alone is none that plays.
          const played = () => [...Array(video.played.length).keys()].some((at) => video.played.end(at) - video.played.start(at) > 0.2);
          video.addEventListener("timeupdate", () => {
            if (played() && video.getVideoPlaybackQuality().totalVideoFrames > 5) screen.begun ??= performance.now() - asked;
          });
          screen.player = await player.start(video, url, (fault) => screen.faults.push(fault));
        };
        window.leave = (kinds) => {
          for (const { video, player } of kinds.map((kind) => window.screens[kind])) {
            if (!video.isConnected) continue;
            player?.destroy();
            video.parentNode.remove();
          }
        };
      }, VIDEO);
      return page;
    },
  };
}
