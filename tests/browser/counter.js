// Reads the frame number off the picture: 16 black and white blocks at the top
// left, a picture's width / 80 each, highest bit first.

/** Runs in the page: watches `video` for `ms`, and tells of each picture its
 *  number and when it was shown (Unix time in milliseconds). */
async function watchInPage({ selector, ms }) {
  const video = document.querySelector(selector);
  const canvas = new OffscreenCanvas(16, 1);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const pictures = [];
  const read = () => {
    const block = video.videoWidth / 80;
    // The middle of each block: its edges are blurred by the codec.
    for (let bit = 0; bit < 16; bit++) {
      const inset = block / 4;
      const side = block - 2 * inset;
      context.drawImage(video, bit * block + inset, inset, side, side, bit, 0, 1, 1);
    }
    const { data } = context.getImageData(0, 0, 16, 1);
    let number = 0;
    for (let bit = 0; bit < 16; bit++) number = number * 2 + (data[bit * 4 + 1] > 127 ? 1 : 0);
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

export async function watch(page, ms, selector = "video") {
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
