// What viewers see when their line loses packets, is too narrow, or goes dead,
// and what the viewer beside them notices. Prints JSON.
//
//   node loss.js [--seconds 20] [--loss 0,1,5,10] [--seed 1]
//
// `frozen` is a share of the time, by WebRTC's own count of freezes: a step of
// more than 150 ms, or three times the usual, beyond the usual one. `beside` is the
// viewer on a good line; compare it with the one at 0 %, since a second page
// that plays makes this machine slower, and Chromium's jitter buffer longer.

import { parseArgs } from "node:util";
import { latency, watch } from "./counter.js";
import { startChromium, startHouse } from "./house.js";
import { startLine, through } from "./line.js";
import { between, inbound, playing } from "./viewer.js";

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "20" }, loss: { type: "string", default: "0,1,5,10" }, seed: { type: "string", default: "1" } },
});
const seconds = Number(values.seconds);
const STREAM = "h264-pcma";
const house = await startHouse([STREAM]);
const { cameras, gateway, browser } = house;
const good = await playing(browser, gateway, STREAM);
const bad = await startChromium();

/** What the good viewer sees meanwhile. */
async function beside() {
  const before = await inbound(good);
  const { pictures } = await watch(good, seconds * 1000);
  const camera = cameras.mounts[STREAM];
  const seen = between(before, await inbound(good));
  return { ...seen, glass_to_glass_ms: latency(pictures, camera, cameras.started[STREAM]) };
}

async function viewer(seed, weather) {
  const line = await startLine(seed);
  const page = await playing(bad, gateway, STREAM, (page) => through(page, line));
  await page.waitForTimeout(2000);
  Object.assign(line, weather, { passed: 0, lost: 0 });
  return {
    async stop() {
      await page.close();
      line.stop();
    },
    async seen() {
      const before = await inbound(page);
      const others = await beside();
      const { lost, passed } = line;
      return { lost: Number((lost / (lost + passed || 1)).toFixed(4)), ...between(before, await inbound(page)), beside: others };
    },
  };
}

const report = { seconds, seed: Number(values.seed), loss: {}, alone: await beside() };
for (const percent of values.loss.split(",").filter(Boolean)) {
  const one = await viewer(Number(values.seed), { loss: Number(percent) / 100 });
  report.loss[`${percent}%`] = await one.seen();
  await one.stop();
}
const narrow = await viewer(Number(values.seed), { rate: 64_000 });
const dead = await viewer(Number(values.seed), { dead: true });
report.beside_64_kbit_and_dead = await beside();
await Promise.all([narrow.stop(), dead.stop()]);
console.log(JSON.stringify(report, null, 1));
await bad.close();
await house.stop();
