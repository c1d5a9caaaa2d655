// The pages: the wall, and what they say when something does not work.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { ARTEFACTS, openPage, startCameras, startChromium, startGateway, until } from "./house.js";

const PASSWORD = "canary-4711";
let cameras, locked, gateway, browser;

before(async () => {
  cameras = await startCameras(["h264-pcma", "long-gop", "bframes", "mjpeg"]);
  locked = await startCameras(["h264-aac", "mjpeg"], ["--auth", "digest"]);
  const url = (mount) => `rtsp://127.0.0.1:${cameras.port}/${mount}`;
  gateway = await startGateway({
    "front-door": { source: url("h264-pcma"), substream: url("long-gop") },
    yard: url("bframes"),
    attic: url("mjpeg"),
    garage: `rtsp://viewer:window@127.0.0.1:${locked.port}/h264-aac`,
    shed: `rtsp://viewer:${PASSWORD}@127.0.0.1:${locked.port}/mjpeg`,
  });
  browser = await startChromium();
  await Promise.all(["front-door", "yard", "attic", "garage"].map(gateway.whenLive));
});

after(async () => {
  await browser?.close();
  await gateway?.stop();
  await locked?.stop();
  await cameras?.stop();
});

const camera = (label) => `porthole-camera[label="${label}"]`;
// Refusals that the pages show in words; Chromium logs every such status.
const unexpected = (complaints) => complaints.filter((text) => !/status of (404|422|502)/.test(text));

test("the wall shows every stream, each the way this browser can play it", async () => {
  const page = await openPage(browser, gateway.base, { colorScheme: "dark" });
  await page.waitForSelector(`${camera("front-door")}[data-state=live]`, { timeout: 20_000 });
  await page.waitForSelector(`${camera("yard")}[data-state=live]`, { timeout: 30_000 });
  await page.waitForSelector(`${camera("garage")}[data-state=live]`, { timeout: 20_000 });
  const names = await page.locator("article h2").allTextContents();
  assert.deepEqual(names, ["attic", "front-door", "garage", "shed", "yard"]);
  const way = (label) => page.getAttribute(camera(label), "data-way");
  assert.equal(await way("front-door"), "WebRTC");
  assert.equal(await way("yard"), "MSE", "B-frames are not for WebRTC");

  const words = (label) => page.locator(`${camera(label)} .message`).innerText();
  await page.waitForSelector(`${camera("shed")}[data-state=down]`, { timeout: 20_000 });
  assert.match(await words("shed"), /refuses the user name or password/);
  await page.waitForSelector(`${camera("attic")}[data-state=live]`, { timeout: 20_000 });
  assert.equal(await way("attic"), "MJPEG");

  assert.ok(!(await page.content()).includes(PASSWORD));
  assert.deepEqual(unexpected(page.complaints), []);
  await page.screenshot({ path: `${ARTEFACTS}/wall-dark.png` });
  await page.close();
});

test("a stream's page shows its substream, and says when there is none", async () => {
  const page = await openPage(browser, new URL("front-door/", gateway.base).href);
  const playing = async (width, timeout = 20_000) => {
    await page.waitForSelector(`${camera("front-door")}[data-state=live]`, { timeout });
    const shown = page.locator("video.shown");
    await until(`${width} pixels`, async () => (await shown.evaluate((video) => video.videoWidth)) === width, 15_000);
  };
  await playing(1280);
  await page.getByRole("link", { name: "substream" }).click();
  await page.waitForURL(/quality=sub/);
  await playing(640);
  // The page asks every 3 s.
  await page.locator("#facts", { hasText: "640 × 360" }).waitFor({ timeout: 10_000 });
  assert.match(await page.locator("#facts").innerText(), /main stream/);
  await page.getByRole("link", { name: "HLS" }).click();
  await page.waitForURL(/mode=hls/);
  // It has a key frame every 10 s, and Chromium plays on with the second segment.
  await playing(640, 45_000);
  assert.equal(await page.getAttribute(camera("front-door"), "data-way"), "HLS");

  await page.goto(new URL("garage/?quality=sub", gateway.base).href);
  await page.waitForSelector(`${camera("garage")}[data-state=down]`, { timeout: 20_000 });
  assert.match(await page.locator(".message").innerText(), /garage has no substream/);
  await page.close();
});

test("a small tile shows the substream, a large one the camera's main stream", async () => {
  const page = await openPage(browser, gateway.base);
  const shows = async (width) => {
    const shown = page.locator(`${camera("front-door")} video.shown`);
    const size = () => shown.evaluate((video) => video.videoWidth, null, { timeout: 1000 }).catch(() => 0);
    await until(`${width} pixels`, async () => (await size()) === width, 20_000);
  };
  await shows(640);
  await page.getByRole("button", { name: "Enlarge front-door" }).click();
  await shows(1280);
  await page.screenshot({ path: `${ARTEFACTS}/wall-enlarged.png` });
  await page.keyboard.press("Escape");
  await shows(640);
  await page.close();
});

test("a camera on somebody's own page is named with or without the slash", async () => {
  const page = await openPage(browser, gateway.base);
  const asked = [];
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  for (const src of ["front-door", "front-door/"]) {
    await page.evaluate((src) => {
      document.body.innerHTML = `<porthole-camera src="${src}" label="mine"></porthole-camera>`;
    }, new URL(src, gateway.base).href);
    await page.waitForSelector(`${camera("mine")}[data-state=live]`, { timeout: 20_000 });
    assert.equal(await page.getAttribute(camera("mine"), "data-way"), "WebRTC", src);
  }
  assert.ok(!asked.includes("/whep"), "the wall's own folder is no stream");
  await page.close();
});

test("the wall fits a phone", async () => {
  const viewport = { width: 390, height: 844 };
  const page = await openPage(browser, gateway.base, { viewport, colorScheme: "light" });
  await page.waitForSelector(`${camera("front-door")}[data-state=live]`, { timeout: 20_000 });
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= viewport.width, `${width} pixels wide`);
  await page.screenshot({ path: `${ARTEFACTS}/wall-phone.png` });
  await page.close();
});

test("where WebRTC is missing the page turns to MSE, and then to HLS", async () => {
  const without = (...names) =>
    openPage(browser, new URL("front-door/", gateway.base).href, {
      before: (page) => page.addInitScript((names) => names.forEach((name) => delete window[name]), names),
    });
  const page = await without("RTCPeerConnection");
  await page.waitForSelector("porthole-camera[data-way=MSE][data-state=live]", { timeout: 20_000 });
  assert.deepEqual(page.complaints, []);
  await page.close();
  const old = await without("RTCPeerConnection", "MediaSource", "ManagedMediaSource");
  await old.waitForSelector("porthole-camera[data-way=HLS][data-state=live]", { timeout: 20_000 });
  assert.deepEqual(old.complaints, []);
  await old.close();
});

test("a stream that is not there is named, with the way back", async () => {
  const page = await openPage(browser, new URL("nowhere/", gateway.base).href);
  await page.waitForSelector("porthole-camera[data-state=down]", { timeout: 20_000 });
  assert.match(await page.locator(".message").innerText(), /There is no stream of that name/);
  await page.getByRole("link", { name: "All streams" }).click();
  await page.waitForSelector("article");
  assert.deepEqual(unexpected(page.complaints), []);
  await page.close();
});

test("a stream's page tells what is known of it", async () => {
  const page = await openPage(browser, new URL("front-door/", gateway.base).href);
  await page.waitForSelector("porthole-camera[data-state=live]", { timeout: 20_000 });
  await page.waitForFunction(() => /live for/.test(document.querySelector("#facts").textContent));
  const facts = await page.locator("#facts").innerText();
  assert.match(facts, /H\.264 1280 × 720, PCMA/);
  await page.screenshot({ path: `${ARTEFACTS}/stream.png` });
  assert.deepEqual(page.complaints, []);
  await page.close();
});

/** What the statistics say, line by line. */
async function statistics(page) {
  const [keys, values] = await Promise.all(["dt", "dd"].map((kind) => page.locator(`.overlay ${kind}`).allInnerTexts()));
  return Object.fromEntries(keys.map((key, at) => [key, values[at]]));
}

const NUMBERS = {
  webrtc: {
    Output: /^WebRTC · udp$/,
    Codec: /^H\.264, PCMA$/,
    Resolution: /^1280 × 720$/,
    "Frame rate": /^2\d\.\d fps$/,
    "Bit rate": /^(\d{3} k|\d\.\d\d M)bit\/s$/,
    Loss: /^0\.0 %$/,
    "Round trip": /^\d+ ms$/,
    "Behind camera": /^\d+ ms$/,
  },
  mse: {
    Output: /^MSE · websocket$/,
    "Frame rate": /^2\d\.\d fps$/,
    "Bit rate": /^(\d{3} k|\d\.\d\d M)bit\/s$/,
    // TCP loses nothing, and tells nobody how long it takes.
    Loss: /^none seen \(TCP\)$/,
    "Round trip": /^\d+ ms \(request\)$/,
    "Behind camera": /^\d+ ms$/,
  },
  hls: {
    Output: /^HLS · http$/,
    Codec: /^H\.264, PCMA$/,
    Resolution: /^1280 × 720$/,
    "Frame rate": /^2\d\.\d fps$/,
    "Bit rate": /^(\d{3} k|\d\.\d\d M)bit\/s$/,
    Loss: /^none seen \(TCP\)$/,
    "Round trip": /^\d+ ms \(request\)$/,
    "Behind camera": /^\d+\.\d s$/,
  },
  mjpeg: {
    Output: /^MJPEG · http$/,
    Codec: /^H\.264, PCMA$/,
    Resolution: /^1280 × 720$/,
    // A key frame every 2 s.
    "Frame rate": /^0\.[3-7] fps$/,
    "Bit rate": /^(\d{3} k|\d\.\d\d M)bit\/s$/,
    Loss: /^none seen \(TCP\)$/,
    "Round trip": /^\d+ ms \(request\)$/,
    "Behind camera": /^(\d+ ms|\d\.\d s)$/,
  },
};

for (const [mode, wanted] of Object.entries(NUMBERS)) {
  test(`statistics: ${mode}`, async () => {
    const page = await openPage(browser, new URL(`front-door/?quality=main&mode=${mode}`, gateway.base).href);
    await page.waitForSelector("porthole-camera[data-state=live]", { timeout: 30_000 });
    await page.locator("porthole-camera").hover();
    await page.getByRole("button", { name: "Statistics" }).click();
    const fits = async () => {
      const said = await statistics(page);
      return Object.entries(wanted).every(([key, pattern]) => pattern.test(said[key] ?? ""));
    };
    await until("numbers", fits, 30_000).catch(async ({ message }) => {
      throw new Error(`${message}: ${JSON.stringify(await statistics(page))}`);
    });
    await page.screenshot({ path: `${ARTEFACTS}/statistics-${mode}.png` });
    await page.keyboard.press("s");
    assert.equal(await page.locator(".overlay").isVisible(), false);
    await page.close();
  });
}

test("a snapshot is saved as large as the camera sends it", async () => {
  const page = await openPage(browser, new URL("front-door/?quality=main", gateway.base).href);
  await page.waitForSelector("porthole-camera[data-state=live]", { timeout: 20_000 });
  await page.locator("porthole-camera").hover();
  const [download] = await Promise.all([
    page.waitForEvent("download", { timeout: 10_000 }),
    page.getByRole("button", { name: "Save a snapshot" }).click(),
  ]);
  assert.match(download.suggestedFilename(), /^front-door-\d{4}-\d\d-\d\dT[\d-]{8}\.jpg$/);
  const path = `${ARTEFACTS}/saved-snapshot.jpg`;
  await download.saveAs(path);
  const jpeg = `data:image/jpeg;base64,${readFileSync(path).toString("base64")}`;
  const size = await page.evaluate(async (src) => {
    const picture = Object.assign(new Image(), { src });
    await picture.decode();
    return [picture.naturalWidth, picture.naturalHeight];
  }, jpeg);
  assert.deepEqual(size, [1280, 720]);
  await page.close();
});

test("the keyboard reaches every button, and pauses, mutes and fills the screen", async () => {
  const page = await openPage(browser, new URL("front-door/", gateway.base).href);
  await page.waitForSelector("porthole-camera[data-state=live]", { timeout: 20_000 });
  const reached = new Set();
  for (let i = 0; i < 20; i++) {
    await page.keyboard.press("Tab");
    reached.add(
      await page.evaluate(() => {
        let focused = document.activeElement;
        while (focused?.shadowRoot?.activeElement) focused = focused.shadowRoot.activeElement;
        return focused?.getAttribute("aria-label") ?? focused?.textContent;
      }),
    );
  }
  for (const name of ["Pause", "Unmute", "Full screen", "Statistics", "Save a snapshot", "All streams"]) {
    assert.ok(reached.has(name), `${name}: ${[...reached].join(", ")}`);
  }
  const player = page.locator("porthole-camera");
  await player.getByRole("button", { name: "Pause" }).focus();
  await page.keyboard.press("k");
  await page.waitForSelector("porthole-camera[data-state=paused]");
  await page.keyboard.press("k");
  await page.waitForSelector("porthole-camera[data-state=live]", { timeout: 20_000 });
  await page.keyboard.press("m");
  assert.equal(await player.locator("video.shown").evaluate((video) => video.muted), false);
  await page.keyboard.press("f");
  await until("full screen", () => page.evaluate(() => document.fullscreenElement?.localName === "porthole-camera"), 5000);
  await page.close();
});
