// Pictures as pages show them: an <img> of a row of pictures moves, for an
// MJPEG camera and for others, and a snapshot is a picture.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ARTEFACTS, openPage, startHouse } from "./house.js";

let house;
before(async () => {
  house = await startHouse(["mjpeg", "gop-1s"]);
});
after(() => house?.stop());

/** Puts an <img> of `path` on the page and tells, after `ms`, its size and how
 *  many different pictures it showed; one that is to be `whole` first, since then. */
const watch = (page, path, ms, whole = false) =>
  page.evaluate(
    async ([path, ms, whole]) => {
      const image = new Image();
      image.src = path;
      document.body.replaceChildren(image);
      if (whole) await image.decode();
      const canvas = new OffscreenCanvas(160, 90);
      const context = canvas.getContext("2d", { willReadFrequently: true });
      const seen = new Set();
      for (const end = Date.now() + ms; Date.now() < end; ) {
        if (image.naturalWidth) {
          context.drawImage(image, 0, 0, 160, 90);
          seen.add(context.getImageData(0, 0, 160, 90).data.join());
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return { width: image.naturalWidth, height: image.naturalHeight, pictures: seen.size };
    },
    [path, ms, whole],
  );

test("a row of pictures moves in an <img>", async () => {
  const page = await openPage(house.browser, house.gateway.base);
  const jpeg = await watch(page, "/mjpeg/stream.mjpeg", 3000);
  await page.screenshot({ path: join(ARTEFACTS, "stream-mjpeg.png") });
  assert.deepEqual([jpeg.width, jpeg.height], [640, 360]);
  // 25 a second; this machine may show fewer.
  assert.ok(jpeg.pictures >= 20, `${jpeg.pictures} pictures in 3 s`);
  const capped = await watch(page, "/mjpeg/stream.mjpeg?fps=2", 3000);
  assert.ok(capped.pictures >= 4 && capped.pictures <= 8, `${capped.pictures} at 2 a second`);
  const keys = await watch(page, "/gop-1s/stream.mjpeg?width=320", 4500);
  assert.deepEqual([keys.width, keys.height], [320, 180]);
  assert.ok(keys.pictures >= 3 && keys.pictures <= 7, `${keys.pictures} key frames in 4.5 s`);
  await page.close();
});

test("a snapshot is a picture", async () => {
  const page = await openPage(house.browser, house.gateway.base);
  const still = await watch(page, "/gop-1s/snapshot.jpg", 1500, true);
  await page.screenshot({ path: join(ARTEFACTS, "snapshot.png") });
  assert.deepEqual([still.width, still.height, still.pictures], [640, 360, 1]);
  await page.close();
});
