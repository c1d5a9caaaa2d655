// Cameras on other sites' pages, and on a phone.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { ARTEFACTS, openPage, startHouse } from "./house.js";

let house, site, stranger;

/** A site of somebody's own: `{ origin, show }`, where the page is what was shown last. */
async function startSite() {
  let body = "";
  const server = createServer((_request, response) => {
    response.setHeader("content-type", "text/html; charset=utf-8");
    response.end(`<!doctype html><html lang="en"><title>A site</title><body>${body}</body></html>`);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    // Not the gateway's host, so that browsers see two sites and not two ports of one.
    origin: `http://localhost:${server.address().port}`,
    show: (html) => (body = html),
    stop: () => server.close(),
  };
}

before(async () => {
  [site, stranger] = [await startSite(), await startSite()];
  house = await startHouse(["h264-pcma"], { cors: [site.origin], embed: { frame_ancestors: [site.origin] } });
});

after(async () => {
  await house?.stop();
  site?.stop();
  stranger?.stop();
});

const stream = (path = "") => new URL(`h264-pcma/${path}`, house.gateway.base).href;
const LIVE = "porthole-camera[data-state=live]";

/** The code that a stream's page offers, as somebody copies it. */
async function codeToCopy() {
  const page = await openPage(house.browser, stream());
  await page.getByText("Embed this camera").click();
  // A page without HTTPS may write the clipboard on this machine alone; as anywhere else it selects.
  await page.evaluate(() => Object.defineProperty(navigator, "clipboard", { value: undefined }));
  const copied = [];
  for (const copy of await page.getByRole("button", { name: "Copy" }).all()) {
    await copy.click();
    copied.push(await page.evaluate(() => String(getSelection())));
  }
  await page.close();
  return copied;
}

test("the code that a stream's page offers plays on another site", async () => {
  const [frame, element] = await codeToCopy();
  assert.match(frame, /^<iframe /);
  assert.match(element, /<porthole-camera /);
  site.show(`<h1>Both ways</h1>${frame}<div style="width: 640px">${element}</div>`);
  const page = await openPage(house.browser, site.origin);
  await page.waitForSelector(LIVE, { timeout: 20_000 });
  await page.frameLocator("iframe").locator(LIVE).waitFor({ timeout: 20_000 });
  for (const way of [page.locator(LIVE), page.frameLocator("iframe").locator(LIVE)]) {
    assert.equal(await way.getAttribute("data-way"), "WebRTC");
    assert.equal(await way.locator("video.shown").evaluate((video) => video.videoWidth), 1280);
  }
  assert.deepEqual(page.complaints, []);
  await page.screenshot({ path: `${ARTEFACTS}/other-site.png`, fullPage: true });
  await page.close();
});

test("a site that is not named may show neither", async () => {
  const [frame, element] = await codeToCopy();
  stranger.show(frame + element);
  const page = await openPage(house.browser, stranger.origin);
  await page.waitForTimeout(2000);
  assert.equal(await page.frameLocator("iframe").locator("porthole-camera").count(), 0);
  assert.equal(await page.evaluate(() => customElements.get("porthole-camera")), undefined);
  assert.match(page.complaints.join("\n"), /frame-ancestors/);
  assert.match(page.complaints.join("\n"), /CORS/);
  await page.close();
});

test("parameters of the embed page are the element's attributes", async () => {
  const page = await openPage(house.browser, stream("embed?controls=false&mode=mse&autoplay=false"));
  await page.waitForSelector("porthole-camera[data-state=paused]");
  assert.equal(await page.locator(".bar").isVisible(), false);
  await page.getByRole("button", { name: "Play" }).click();
  await page.waitForSelector("porthole-camera[data-way=MSE][data-state=live]", { timeout: 20_000 });
  await page.close();
});

const PHONE = {
  viewport: { width: 390, height: 844 },
  deviceScaleFactor: 3,
  isMobile: true,
  hasTouch: true,
  userAgent:
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
};

for (const [name, path] of [["wall", ""], ["stream", "h264-pcma/"], ["embed", "h264-pcma/embed"]]) {
  test(`a phone held upright shows the ${name} page, to the screen's edges and no farther`, async () => {
    const page = await openPage(house.browser, new URL(path, house.gateway.base).href, PHONE);
    await page.waitForSelector(LIVE, { timeout: 20_000 });
    const { width } = PHONE.viewport;
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
    const box = await page.locator("porthole-camera").boundingBox();
    assert.ok(box.width > width - 30, `the picture is ${box.width} of ${width} wide`);
    if (name !== "wall") {
      // Whoever has no mouse finds the buttons without one.
      await page.getByRole("button", { name: "Unmute" }).tap();
      assert.equal(await page.locator("video.shown").evaluate((video) => video.muted), false);
    }
    assert.deepEqual(page.complaints, []);
    await page.screenshot({ path: `${ARTEFACTS}/phone-${name}.png` });
    await page.close();
  });
}
