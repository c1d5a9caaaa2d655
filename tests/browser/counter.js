// Reads the frame number off the picture: 16 black and white blocks at the top
// left, a picture's width / 80 each, highest bit first.

import assert from "node:assert/strict";

/** Runs in the page: watches `video` for `ms`, and tells of each picture its
 *  number and when it was shown (Unix time in milliseconds). */
async function watchInPage({ selector, ms }) {
  const found = document.querySelector(selector);
  // A player's own pictures are in its shadow; the one shown may change.
  const video = found.shadowRoot?.querySelector("video.shown") ?? found;
  const dots = 8; // of the canvas, for each block
  const canvas = new OffscreenCanvas(16 * dots, dots);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const pictures = [];
  const read = () => {
    const block = video.videoWidth / 80;
    // In one go: the element may show the next picture between two calls.
    context.drawImage(video, 0, 0, 16 * block, block, 0, 0, 16 * dots, dots);
    const { data } = context.getImageData(0, dots / 2, 16 * dots, 1);
    // The middle of each block: its edges are blurred by the codec.
    const green = (bit) => data[4 * (bit * dots + dots / 2) + 1];
    let number = 0;
    for (let bit = 0; bit < 16; bit++) number = number * 2 + (green(bit) > 127 ? 1 : 0);
    return number;
  };
  await new Promise((resolve) => {
    const end = performance.now() + ms;
    setTimeout(resolve, ms + 1000); // Should no picture come at all.
    const shown = (now) => {
      pictures.push({ number: read(), at: performance.timeOrigin + performance.now() });
      if (now < end) video.requestVideoFrameCallback(shown);
      else resolve();
    };
    video.requestVideoFrameCallback(shown);
  });
  return { pictures, width: video.videoWidth, height: video.videoHeight };
}

export async function watch(page, ms, selector = "porthole-camera, video") {
  return await page.evaluate(watchInPage, { selector, ms });
}

/** How many pictures differ from the one before, and how many went back. */
export function progress(pictures, frames) {
  let [steps, back] = [0, 0];
  for (let i = 1; i < pictures.length; i++) {
    const step = (pictures[i].number - pictures[i - 1].number + frames) % frames;
    if (step > frames / 2) back += 1;
    else if (step > 0) steps += 1;
  }
  return { steps, back };
}

/** Milliseconds from camera to screen: `{ median, p95 }`. */
export function latency(pictures, { frames, fps }, started) {
  const loop = (frames / fps) * 1000;
  const delays = pictures.map(({ number, at }) => {
    const delay = at - started * 1000 - (number / fps) * 1000;
    return ((delay % loop) + loop) % loop;
  });
  delays.sort((a, b) => a - b);
  const at = (share) => Math.round(delays[Math.floor((delays.length - 1) * share)]);
  return { median: at(0.5), p95: at(0.95) };
}

/** Looks for 4 s, up to three times, until `least` new pictures were shown, at
 *  most `behind` ms after the camera; and tells what was seen. A machine with
 *  other things to do makes any player fall back for a while. */
export async function looks(page, camera, started, { least, behind }) {
  const seen = [];
  do {
    const { pictures, width, height } = await watch(page, 4000);
    const { steps, back } = progress(pictures, camera.frames);
    seen.push({ width, height, steps, back, ...latency(pictures, camera, started) });
  } while (seen.length < 3 && !(seen.at(-1).steps >= least && seen.at(-1).median <= behind));
  return seen;
}

/** Fails unless pictures of the right size advanced, and the last look was good. */
export function assertFresh(seen, camera, { least, behind }) {
  const said = JSON.stringify(seen);
  for (const { width, height, back } of seen) {
    assert.deepEqual([width, height], [camera.width, camera.height]);
    assert.equal(back, 0, `pictures went back in time: ${said}`);
  }
  assert.ok(seen.at(-1).steps >= least, `too few new pictures in 4 s of 25 a second: ${said}`);
  assert.ok(seen.at(-1).median <= behind, said);
}
