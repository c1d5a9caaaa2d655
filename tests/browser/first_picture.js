// How long from the click to the first decoded picture, with a key frame every
// 1, 10 and 30 s, and how far behind the camera the picture then is. Prints JSON.
//
//   node first_picture.js [--clicks 20] [--stream NAME=RTSP_URL …]
//
// Without --stream on test cameras of its own, whose pictures carry their
// number: with them it also tells `glass_to_glass_ms`.

import { parseArgs } from "node:util";
import { latency, watch } from "./counter.js";
import { startCameras, startChromium, startGateway } from "./house.js";
import { emptyPage, inbound } from "./viewer.js";

const { values } = parseArgs({
  options: { clicks: { type: "string", default: "20" }, stream: { type: "string", multiple: true } },
});
const MOUNTS = { "gop-1s": "1 s", "long-gop": "10 s", "gop-30s": "30 s" };
// What the blocks count to: the demo's ten seconds.
const COUNTED = 250;

const cameras = values.stream ? undefined : await startCameras(Object.keys(MOUNTS));
const streams = Object.fromEntries(
  values.stream?.map((pair) => [pair.split("=", 1)[0], pair.slice(pair.indexOf("=") + 1)]) ??
    Object.keys(MOUNTS).map((mount) => [mount, `rtsp://127.0.0.1:${cameras.port}/${mount}`]),
);
const gateway = await startGateway(streams);
const browser = await startChromium();

/** In the page: a click that begins to play; until a picture is on screen. */
function click(stream) {
  const camera = document.createElement("porthole-camera");
  camera.setAttribute("src", `${stream}/`);
  camera.setAttribute("mode", "webrtc");
  const begun = performance.now();
  document.body.replaceChildren(camera);
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error("no picture in 10 s")), 10_000);
    const look = () => {
      const video = camera.querySelector("video") ?? camera.shadowRoot?.querySelector("video");
      if (!video) return requestAnimationFrame(look);
      video.requestVideoFrameCallback((_, { presentationTime }) => resolve(presentationTime - begun));
    };
    look();
  });
}

const report = {};
for (const stream of Object.keys(streams)) {
  await gateway.whenLive(stream);
  const page = await emptyPage(browser, gateway);
  await page.addScriptTag({ url: new URL("porthole.js", gateway.base).href, type: "module" });
  const times = [];
  for (let at = 0; at < Number(values.clicks); at++) {
    times.push(await page.evaluate(click, stream));
    await page.evaluate(() => document.body.replaceChildren());
    // Somewhere else in the group of pictures each time.
    await page.waitForTimeout(700);
  }
  times.sort((a, b) => a - b);
  const at = (share) => Math.round(times[Math.floor((times.length - 1) * share)]);
  const name = MOUNTS[stream] ?? stream;
  report[name] = { clicks: times.length, first_picture_ms: { median: at(0.5), p95: at(0.95), most: at(1) } };
  if (cameras) {
    await page.evaluate(click, stream);
    await page.waitForTimeout(3000);
    const { pictures } = await watch(page, 4000);
    const camera = { ...cameras.mounts[stream], frames: COUNTED };
    report[name].glass_to_glass_ms = latency(pictures, camera, cameras.started[stream]);
    const { jitterBufferDelay, jitterBufferEmittedCount } = await inbound(page);
    report[name].jitter_buffer_ms = Math.round((jitterBufferDelay / jitterBufferEmittedCount) * 1000);
  }
  await page.close();
}
console.log(JSON.stringify(report, null, 1));
await browser.close();
await gateway.stop();
await cameras?.stop();
