// The line between one viewer and the gateway: a UDP relay that loses packets
// (by a seed, so that a run can be repeated), is narrow, or goes dead.

import { createSocket } from "node:dgram";

/** Longest queue before the narrow part, in ms. */
const QUEUE = 300;

/** 0 to 1, from a seed (mulberry32). */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const bound = (socket) => new Promise((resolve) => socket.bind(0, "127.0.0.1", () => resolve(socket)));

/** A line; it learns where the gateway is from the first answer it redirects.
 *  Assign `loss` (0 to 1), `rate` (bits a second) and `dead` as you please. */
export async function startLine(seed = 1) {
  const [near, far] = await Promise.all([bound(createSocket("udp4")), bound(createSocket("udp4"))]);
  // A test that failed is not kept from ending.
  [near, far].forEach((socket) => socket.unref());
  const chance = random(seed);
  const line = { loss: 0, rate: 0, dead: false, passed: 0, lost: 0, gateway: 0, stopped: false };
  let viewer;
  let free = 0;
  near.on("message", (datagram, from) => {
    viewer = from;
    if (line.gateway && !line.stopped) far.send(datagram, line.gateway, "127.0.0.1");
  });
  far.on("message", (datagram) => {
    const now = performance.now();
    free = Math.max(free, now);
    if (line.dead || chance() < line.loss || (line.rate && free - now > QUEUE)) {
      line.lost += 1;
      return;
    }
    line.passed += 1;
    if (line.rate) free += (datagram.length * 8000) / line.rate;
    const send = () => viewer && !line.stopped && near.send(datagram, viewer.port, viewer.address);
    if (free > now) setTimeout(send, free - now);
    else send();
  });
  // The answer, with this line as the only way there is.
  line.redirect = (answer) => {
    let found = 0;
    const kept = answer.split("\r\n").filter((text) => {
      const [, port] = /^a=candidate:\S+ 1 udp \d+ \S+ (\d+) typ host/i.exec(text) ?? [];
      found ||= Number(port ?? 0);
      return !text.startsWith("a=candidate:");
    });
    line.gateway = found;
    const candidate = `a=candidate:1 1 udp 2130706431 127.0.0.1 ${near.address().port} typ host`;
    return kept.flatMap((text) => (text.startsWith("m=") ? [text, candidate] : [text])).join("\r\n");
  };
  line.stop = () => {
    line.stopped = true;
    [near, far].forEach((socket) => socket.close());
  };
  return line;
}

/** Makes `page` reach the gateway's media through `line` alone. */
export async function through(page, line) {
  await page.route("**/whep", async (route) => {
    const request = route.request();
    if (request.method() !== "POST") return await route.continue();
    // With our own candidates the gateway would find the way around the line.
    const offer = request.postData().replace(/a=candidate:.*\r\n/g, "");
    const response = await route.fetch({ postData: offer });
    const text = await response.text();
    await route.fulfill({ response, body: response.ok() ? line.redirect(text) : text });
  });
  await page.route("**/whep/*", (route) =>
    route.request().method() === "PATCH" ? route.fulfill({ status: 204 }) : route.continue(),
  );
}
