// Each way to play, and each fall to the next, in Chromium.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { assertFresh, latency, looks, watch } from "./counter.js";
import { ARTEFACTS, openPage, slack, startCameras, startGateway, startHouse, until } from "./house.js";

const MOUNTS = ["h264-pcma", "h264-aac", "gop-30s", "bframes", "h265-aac", "mjpeg"];
let house, cameras, gateway, browser;

before(async () => {
  house = await startHouse(MOUNTS);
  ({ cameras, gateway, browser } = house);
});

after(() => house?.stop());

/** Keeps what the player says of itself, and when. */
const listen = (page) =>
  page.addInitScript(() => {
    window.said = [];
    for (const event of ["porthole-state", "porthole-fault"]) {
      addEventListener(event, ({ type, detail }) => {
        window.said.push({ type, at: performance.now(), state: detail.state, way: detail.way, title: detail.title });
      });
    }
  });

const open = (path, before = () => {}) =>
  openPage(browser, new URL(path, gateway.base).href, {
    before: async (page) => {
      await listen(page);
      await before(page);
    },
  });

const playing = (page, way, timeout = 20_000) =>
  page.waitForSelector(`porthole-camera[data-way=${way}][data-state=live]`, { timeout });

const states = (page) => page.evaluate(() => window.said.filter(({ type }) => type === "porthole-state"));

/** Answers name ports that nobody listens on, as behind a firewall. */
const blockWebrtc = (page, blocked = () => true, protocols = "\\S+") =>
  page.route(/\/whep(\?.*)?$/, async (route) => {
    const response = await route.fetch();
    const body = await response.text();
    const shut = body.replace(new RegExp(`^(a=candidate:\\S+ \\d+ ${protocols} \\d+ \\S+) \\d+`, "gim"), "$1 9");
    await route.fulfill({ response, body: blocked() ? shut : body });
  });

const slowness = slack();
const behind = 250 * slowness;
for (const mount of ["h264-pcma", "h264-aac", "bframes"]) {
  test(`MSE: ${mount} is at most 250 ms behind the camera`, async () => {
    const page = await open(`${mount}/?mode=mse`);
    await playing(page, "MSE");
    await page.waitForTimeout(4000);
    const fresh = { least: 70, behind };
    const seen = await looks(page, cameras.mounts[mount], cameras.started[mount], fresh);
    console.log(`MSE ${mount}, camera to screen: ${JSON.stringify(seen)}`);
    assertFresh(seen, cameras.mounts[mount], fresh);
    const told = await page.evaluate(async () => (await document.querySelector("porthole-camera").stats()).delay);
    assert.ok(Math.abs(told - seen.at(-1).median) < behind, `says ${told} ms`);
    assert.deepEqual(page.complaints, []);
    await page.close();
  });
}

test("MSE that ran dry keeps more in hand, and gives it back on a calm line", async () => {
  const page = await open("bframes/?mode=mse");
  await playing(page, "MSE");
  const video = page.locator("video.shown");
  // As on a line that comes in gusts; then what such a line costs.
  for (let gust = 0; gust < 6; gust++) {
    await video.evaluate((video) => video.dispatchEvent(new Event("waiting")));
    await page.waitForTimeout(1100);
  }
  await video.evaluate((video) => (video.currentTime -= 0.8));
  await page.waitForTimeout(2500);
  const inHand = () => video.evaluate((video) => video.buffered.end(video.buffered.length - 1) - video.currentTime);
  const kept = await inHand();
  assert.ok(kept > 0.35, `${kept} s`);
  await until("close to live", async () => (await inHand()) < 0.2, 20_000);
  await page.close();
});

test("HLS in Chromium tells how far behind the camera it is, and at what rate it comes", async () => {
  const page = await open("h264-pcma/?mode=hls");
  await playing(page, "HLS", 30_000);
  const stats = () => page.evaluate(() => document.querySelector("porthole-camera").stats());
  const errors = [];
  const last = () => errors.at(-1) ?? { error: NaN, rate: NaN };
  for (let look = 0; look < 6 && !(Math.abs(last().error) < 500); look++) {
    await page.waitForTimeout(2000);
    await playing(page, "HLS", 30_000);
    const { pictures } = await watch(page, 2000).catch(() => ({ pictures: [] }));
    if (!pictures.length) continue;
    const { frames, fps } = cameras.mounts["h264-pcma"];
    const loop = (frames / fps) * 1000;
    const { delay, rate } = (await stats()) ?? { delay: NaN, rate: NaN };
    // What is seen repeats itself with the clip.
    const { median } = latency(pictures, { frames, fps }, cameras.started["h264-pcma"]);
    const error = (((delay - median + loop / 2) % loop) + loop) % loop - loop / 2;
    errors.push({ error: Math.round(error), delay: Math.round(delay), rate: Math.round(rate) });
  }
  console.log(`HLS, said less seen: ${JSON.stringify(errors)}`);
  assert.ok(Math.abs(last().error) < 500, JSON.stringify(errors));
  // Some 55 kB a second.
  assert.ok(last().rate > 300_000 && last().rate < 700_000, JSON.stringify(errors));
  await page.close();
});

test("a way that breaks is not called live while it begins anew", async () => {
  const page = await open("h264-pcma/?mode=hls");
  await playing(page, "HLS", 30_000);
  await page.locator("video.shown").evaluate((video) => video.dispatchEvent(new Event("error")));
  await page.waitForSelector("porthole-camera[data-state=connecting]", { timeout: 5000 });
  await playing(page, "HLS", 30_000);
  assert.deepEqual((await states(page)).map(({ state }) => state), ["connecting", "live", "connecting", "live"]);
  await page.close();
});

test("HLS that never gets past its first picture is not called live, and MJPEG plays", async () => {
  const page = await open("h264-pcma/?mode=hls,mjpeg", (page) =>
    page.addInitScript(() => Object.defineProperty(HTMLMediaElement.prototype, "currentTime", { get: () => 0 })),
  );
  await playing(page, "MJPEG", 90_000);
  assert.deepEqual((await states(page)).map(({ state, way }) => `${state} ${way}`), ["connecting ", "live MJPEG"]);
  await page.close();
});

test("over MSE sound comes when somebody listens, in the same picture", async () => {
  const page = await open("h264-aac/?mode=mse");
  await playing(page, "MSE");
  const heard = () => page.locator("video.shown").evaluate((video) => video.webkitAudioDecodedByteCount);
  assert.equal(await heard(), 0);
  await page.locator("porthole-camera").hover();
  await page.getByRole("button", { name: "Unmute" }).click();
  await until("sound", async () => (await heard()) > 0, 10_000);
  assert.equal(await page.locator("video.shown").evaluate((video) => video.muted), false);
  assert.deepEqual((await states(page)).map(({ state }) => state), ["connecting", "live"]);
  await page.close();
});

test("MSE forgets what was shown, yet nothing that a picture depends on", async () => {
  const page = await open("gop-30s/?mode=mse");
  await playing(page, "MSE");
  // Longer than what is kept, and all within one group of pictures.
  await page.waitForTimeout(12_000);
  const { pictures } = await watch(page, 2000);
  assert.ok(pictures.length >= 25, `${pictures.length} pictures in 2 s`);
  assert.deepEqual((await states(page)).map(({ state }) => state), ["connecting", "live"]);
  await page.close();
});

test("iPhones' ManagedMediaSource plays where there is no other", async () => {
  const page = await open("h264-aac/?mode=mse", (page) =>
    page.addInitScript(() => {
      // As Safari's: it opens for elements alone that no AirPlay takes away.
      const { MediaSource } = window;
      window.ManagedMediaSource = class extends MediaSource {};
      delete window.MediaSource;
      const { set } = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "src");
      Object.defineProperty(HTMLMediaElement.prototype, "src", {
        set(url) {
          if (this.disableRemotePlayback) set.call(this, url);
        },
      });
    }),
  );
  await playing(page, "MSE");
  const { pictures } = await watch(page, 2000);
  assert.ok(pictures.length >= 25, `${pictures.length} pictures in 2 s`);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("a still is there at once, while the moving picture is on its way", async () => {
  const page = await open("h264-pcma/", (page) =>
    page.route(/\/whep$/, async (route) => {
      await new Promise((resolve) => setTimeout(resolve, 1500));
      await route.continue();
    }),
  );
  const still = page.locator("canvas.still");
  await still.waitFor({ timeout: 10_000 });
  assert.equal(await page.locator("porthole-camera").getAttribute("data-state"), "connecting");
  const shade = await still.evaluate((canvas) => canvas.getContext("2d").getImageData(canvas.width / 2, 20, 1, 1).data.join());
  assert.notEqual(shade, "0,0,0,0", "a picture is drawn");
  await page.screenshot({ path: `${ARTEFACTS}/poster.png` });
  await playing(page, "WebRTC");
  await still.waitFor({ state: "hidden" });
  await page.close();
});

test("sound that a way cannot carry is missed aloud", async () => {
  const page = await open("h264-aac/?mode=webrtc");
  await playing(page, "WebRTC");
  assert.equal(await page.locator(".notice").textContent(), "No sound over WebRTC");
  await page.close();
});

test("a network that lets no WebRTC through gets MSE, two seconds later", async () => {
  const page = await open("h264-pcma/", blockWebrtc);
  await playing(page, "MSE");
  const seen = await states(page);
  const [connecting, live] = ["connecting", "live"].map((state) => seen.find((one) => one.state === state));
  assert.ok(live.at - connecting.at < 4500, `${live.at - connecting.at} ms`);
  await page.screenshot({ path: `${ARTEFACTS}/udp-blocked.png` });
  await page.close();
});

test("a network that lets no UDP through gets WebRTC over TCP", async () => {
  const page = await open("h264-pcma/", (page) => blockWebrtc(page, () => true, "udp"));
  await playing(page, "WebRTC");
  const path = () => page.evaluate(async () => (await document.querySelector("porthole-camera").stats())?.path);
  await until("numbers", async () => (await path()) !== undefined, 5000);
  assert.equal(await path(), "tcp");
  await page.screenshot({ path: `${ARTEFACTS}/webrtc-over-tcp.png` });
  await page.close();
});

test("WebRTC alone says which paths were tried, and what to open", async () => {
  const page = await open("h264-pcma/?mode=webrtc", blockWebrtc);
  await page.waitForSelector("porthole-camera[data-state=down]", { timeout: 20_000 });
  const words = await page.locator(".message").innerText();
  assert.match(words, /No network path to the gateway works for WebRTC/);
  assert.match(words, /tried 127\.0\.0\.1:9\/udp/);
  assert.match(words, /127\.0\.0\.1:9\/tcp/);
  assert.match(words, /Open 9\/udp and 9\/tcp to the gateway/);
  await page.screenshot({ path: `${ARTEFACTS}/udp-blocked-webrtc-alone.png` });
  await page.close();
});

test("when WebRTC works again it is taken, without a dark moment", async () => {
  let blocked = true;
  const page = await open("h264-pcma/", (page) => blockWebrtc(page, () => blocked));
  await playing(page, "MSE");
  blocked = false;
  await page.evaluate(() => dispatchEvent(new Event("online")));
  await playing(page, "WebRTC", 15_000);
  assert.deepEqual((await states(page)).map(({ state }) => state), ["connecting", "live"]);
  await page.close();
});

test("a browser without H.264 in WebRTC is not even asked to try", async () => {
  const asked = [];
  const page = await open("h264-pcma/", async (page) => {
    page.on("request", (request) => asked.push(new URL(request.url()).pathname));
    await page.addInitScript(() => {
      const all = RTCRtpReceiver.getCapabilities.bind(RTCRtpReceiver);
      RTCRtpReceiver.getCapabilities = (kind) => {
        const { codecs, ...rest } = all(kind);
        return { ...rest, codecs: codecs.filter(({ mimeType }) => mimeType !== "video/H264") };
      };
    });
  });
  await playing(page, "MSE");
  assert.ok(!asked.includes("/h264-pcma/whep"));
  await page.close();
});

test("an offer without H.264 is refused, and MSE plays", async () => {
  const page = await open("h264-pcma/", (page) =>
    page.route(/\/whep$/, (route) => route.continue({ postData: route.request().postData().replaceAll("H264/", "H2XX/") })),
  );
  await playing(page, "MSE");
  assert.ok(page.complaints.every((text) => /status of 422/.test(text)), page.complaints.join());
  await page.screenshot({ path: `${ARTEFACTS}/h264-refused.png` });
  await page.close();
});

test("H.265 in a browser that lacks it is named, way by way, with what to do", async () => {
  const page = await open("h265-aac/?mode=webrtc,mse,hls");
  await page.waitForSelector("porthole-camera[data-state=down]", { timeout: 20_000 });
  const words = await page.locator(".message").innerText();
  assert.match(words, /cannot play the camera's H\.265 video/);
  assert.match(words, /MSE: this browser does not decode H\.265 \(hvc1\./);
  assert.match(words, /Use Safari, or Chrome or Edge on a device that decodes H\.265/);
  assert.deepEqual(page.complaints, [], "nothing was tried in vain");
  await page.screenshot({ path: `${ARTEFACTS}/h265.png` });
  await page.close();
});

test("a gateway with too many viewers says so, and lets the next one in when there is room", async () => {
  const full = await startGateway({ door: `rtsp://127.0.0.1:${cameras.port}/h264-pcma` }, { limits: { viewers: 1 } });
  try {
    await full.whenLive("door");
    for (const [mode, way] of Object.entries({ webrtc: "WebRTC", mse: "MSE", mjpeg: "MJPEG" })) {
      const url = new URL(`door/?mode=${mode}`, full.base).href;
      const first = await openPage(browser, url);
      await playing(first, way);
      const second = await openPage(browser, url);
      await second.waitForSelector("porthole-camera[data-state=down]", { timeout: 20_000 });
      assert.match(await second.locator(".message").innerText(), /Too many viewers are connected\.\s+Try again in a moment/, way);
      await second.screenshot({ path: `${ARTEFACTS}/too-many-viewers-${mode}.png` });
      await first.close();
      await playing(second, way, 30_000);
      await second.close();
      const left = () => full.metric(`porthole_sessions{output="${mode === "webrtc" ? "whep" : mode}",state="connected"}`);
      await until("nobody", async () => (await left()) === 0, 20_000);
    }
  } finally {
    await full.stop();
  }
});

test("MJPEG is drawn picture by picture, every one a camera sends", async () => {
  const page = await open("mjpeg/");
  await playing(page, "MJPEG");
  const stats = () => page.evaluate(() => document.querySelector("porthole-camera").stats());
  const before = await stats();
  await page.waitForTimeout(2000);
  const now = await stats();
  assert.deepEqual([now.width, now.height], [640, 360]);
  assert.ok(now.frames - before.frames >= 40, `${now.frames - before.frames} pictures in 2 s of 25 a second`);
  assert.ok(now.delay > 0 && now.delay < 500 * slowness, `${now.delay} ms behind`);
  assert.deepEqual(page.complaints, []);
  await page.screenshot({ path: `${ARTEFACTS}/mjpeg.png` });
  await page.close();
});

test("H.264 that nothing else plays is shown as MJPEG, key frame by key frame", async () => {
  const page = await open("h264-pcma/?mode=mjpeg");
  await playing(page, "MJPEG");
  const { width, height } = await page.evaluate(() => document.querySelector("porthole-camera").stats());
  assert.deepEqual([width, height], [1280, 720]);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("nobody who does not look costs the gateway a session", async () => {
  const sessions = async () =>
    (await gateway.metric('porthole_sessions{output="whep",state="connected"}')) +
    (await gateway.metric('porthole_sessions{output="mse",state="connected"}'));
  await until("the other tests' viewers gone", async () => (await sessions()) === 0, 20_000);
  const page = await open("h264-pcma/");
  await playing(page, "WebRTC");
  const hide = (hidden) =>
    page.evaluate((hidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
  await hide(true);
  await page.waitForSelector("porthole-camera[data-state=paused]", { timeout: 5000 });
  await until("no session", async () => (await sessions()) === 0, 5000);
  assert.equal(await page.locator("canvas.still").isHidden(), false, "the last picture stays");
  await page.screenshot({ path: `${ARTEFACTS}/paused.png` });
  await hide(false);
  await playing(page, "WebRTC", 5000);

  // Scrolled away.
  await page.evaluate(() => {
    document.body.style.paddingBottom = "4000px";
    scrollTo(0, 4000);
  });
  await page.waitForSelector("porthole-camera[data-state=paused]", { timeout: 5000 });
  await until("no session", async () => (await sessions()) === 0, 5000);
  await page.evaluate(() => scrollTo(0, 0));
  await playing(page, "WebRTC", 5000);
  await page.close();
});

test("a camera that dies is told of, and seen 5 s after it is back, in another size", async () => {
  const ways = { webrtc: "WebRTC", mse: "MSE", hls: "HLS" };
  const pages = await Promise.all(Object.keys(ways).map((mode) => open(`h264-pcma/?mode=${mode}`)));
  await Promise.all(pages.map((page, at) => playing(page, Object.values(ways)[at])));
  await Promise.all(pages.map((page) => page.waitForTimeout(2000)));
  const { port } = cameras;
  await cameras.stop();
  const words = async (page) => await page.locator(".message").innerText();
  for (const page of pages) await until("the reason", async () => /camera/i.test(await words(page)), 15_000);
  // Browsers ask WebRTC for a key frame now, and must not take the past for the present.
  for (const end = Date.now() + 7000; Date.now() < end; ) {
    for (const page of pages.slice(0, 2)) assert.match(await words(page), /camera/i, await page.locator(".badge").innerText());
    await pages[0].waitForTimeout(300);
  }
  await pages[0].screenshot({ path: `${ARTEFACTS}/camera-off.png` });

  // The same URL, another picture.
  house.cameras = cameras = await startCameras(["h264-pcma=long-gop"], ["--port", String(port)]);
  await until("the camera", async () => (await gateway.list()).find(({ name }) => name === "h264-pcma").state === "live", 40_000);
  const back = Date.now();
  const took = await Promise.all(
    pages.map(async (page) => {
      const width = () => page.locator("video.shown").evaluate((video) => video.videoWidth).catch(() => 0);
      await until("a picture of the new size", async () => (await width()) === 640, 15_000);
      return Date.now() - back;
    }),
  );
  console.log(`seen again, ms after the gateway: ${took.map((ms, at) => `${Object.values(ways)[at]} ${ms}`).join(", ")}`);
  await pages[0].screenshot({ path: `${ARTEFACTS}/camera-back-in-another-size.png` });
  for (const ms of took.slice(0, 2)) assert.ok(ms <= 5000, `${ms} ms`);
  await Promise.all(pages.map((page) => page.close()));
});
