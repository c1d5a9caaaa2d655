// Pages for everybody: readable by all, and safe with a camera that is not.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { after, before, test } from "node:test";
import { ARTEFACTS, openPage, startCameras, startChromium, startGateway, until } from "./house.js";

const AXE = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const MARKUP = "<img src=x onerror=window.fooled=1>";
let cameras, hostile, gateway, browser;

/** A camera that says markup wherever the protocol lets it. */
async function startHostileCamera() {
  const sdp = [
    "v=0",
    `o=- 1 1 IN IP4 ${MARKUP}`,
    `s=${MARKUP}`,
    `i=${MARKUP}`,
    "t=0 0",
    "m=video 0 RTP/AVP 96",
    `a=rtpmap:96 ${MARKUP.replaceAll(" ", "")}/90000`,
    "a=control:track1",
    "",
  ].join("\r\n");
  const server = createServer((socket) => {
    socket.on("error", () => {});
    let held = "";
    socket.on("data", (data) => {
      held += data;
      for (let end; (end = held.indexOf("\r\n\r\n")) >= 0; held = held.slice(end + 4)) {
        const request = held.slice(0, end);
        const cseq = /^CSeq: *(\d+)/im.exec(request)?.[1] ?? "1";
        const head = `CSeq: ${cseq}\r\nServer: ${MARKUP}\r\n`;
        if (request.startsWith("OPTIONS")) socket.write(`RTSP/1.0 200 OK\r\n${head}Public: DESCRIBE, SETUP, PLAY\r\n\r\n`);
        else if (request.includes("/words")) socket.write(`RTSP/1.0 451 ${MARKUP}\r\n${head}\r\n`);
        else {
          const type = `Content-Type: application/sdp\r\nContent-Length: ${sdp.length}\r\n`;
          socket.write(`RTSP/1.0 200 OK\r\n${head}${type}\r\n${sdp}`);
        }
      }
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: server.address().port, stop: () => server.close() };
}

before(async () => {
  cameras = await startCameras(["h264-pcma", "h265-aac"]);
  hostile = await startHostileCamera();
  const url = (mount) => `rtsp://127.0.0.1:${cameras.port}/${mount}`;
  gateway = await startGateway({
    "front-door": url("h264-pcma"),
    cellar: url("h265-aac"),
    shed: "rtsp://127.0.0.1:9/none",
    sdp: `rtsp://127.0.0.1:${hostile.port}/sdp`,
    words: `rtsp://127.0.0.1:${hostile.port}/words`,
  });
  browser = await startChromium();
  await Promise.all(["front-door", "cellar"].map(gateway.whenLive));
});

after(async () => {
  await browser?.close();
  await gateway?.stop();
  await cameras?.stop();
  hostile?.stop();
});

const href = (path) => new URL(path, gateway.base).href;
const LIVE = "porthole-camera[data-state=live]";
const DOWN = "porthole-camera[data-state=down]";

const PAGES = [
  { name: "wall", path: "", ready: LIVE },
  { name: "wall, one enlarged", path: "#front-door", ready: `.large ${LIVE}` },
  { name: "stream", path: "front-door/", ready: LIVE, all: true },
  { name: "stream that is off", path: "shed/", ready: DOWN },
  { name: "stream that this browser cannot play", path: "cellar/", ready: DOWN },
  { name: "embed", path: "front-door/embed", ready: LIVE },
];
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };

for (const { name, path, ready, all } of PAGES) {
  test(`axe finds nothing serious: ${name}`, async () => {
    for (const options of [{ colorScheme: "light" }, { colorScheme: "dark" }, { colorScheme: "dark", ...PHONE }]) {
      const page = await openPage(browser, href(path), options);
      await page.waitForSelector(ready, { timeout: 20_000 });
      if (all) {
        await page.keyboard.press("s");
        await page.getByText("Embed this camera").click();
        await page.locator(".overlay", { hasText: "Round trip" }).waitFor();
      }
      await page.evaluate(AXE);
      const { violations, passes } = await page.evaluate(() => window.axe.run(document));
      assert.ok(passes.length > 10, "axe looked at the page");
      const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
      const told = serious.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join(" | ")}`);
      assert.deepEqual(told, [], JSON.stringify(options));
      await page.close();
    }
  });
}

test("what a camera says is shown as text, whatever it says", async () => {
  for (const [path, name] of [["words/", "words"], ["sdp/", "sdp"], ["", "wall"]]) {
    const page = await openPage(browser, href(path));
    await page.waitForSelector(DOWN, { timeout: 20_000 });
    if (path) {
      const words = page.locator(".message");
      await until("the camera's words", async () => /<img/.test(await words.innerText()), 10_000).catch(async (error) => {
        throw new Error(`${error.message}: ${await words.innerText()}`);
      });
    }
    await page.waitForTimeout(500);
    assert.equal(await page.evaluate(() => window.fooled), undefined);
    assert.equal(await page.locator("img[src=x]").count(), 0);
    await page.screenshot({ path: `${ARTEFACTS}/hostile-${name}.png` });
    await page.close();
  }
});

test("markup that got into a page all the same runs nothing", async () => {
  for (const path of ["", "front-door/", "front-door/embed"]) {
    const page = await openPage(browser, href(path), {
      before: (page) =>
        page.addInitScript(() => {
          window.refused = [];
          addEventListener("securitypolicyviolation", ({ violatedDirective }) => window.refused.push(violatedDirective));
        }),
    });
    await page.waitForSelector(LIVE, { timeout: 20_000 });
    assert.deepEqual(await page.evaluate(() => window.refused), [], "our own page needs nothing that is refused");
    await page.evaluate((markup) => {
      document.body.insertAdjacentHTML("beforeend", markup.replace("src=x", "src=data:,"));
      const script = document.createElement("script");
      script.textContent = "window.fooled = 2";
      document.body.append(script);
    }, MARKUP);
    await until("both refused", async () => (await page.evaluate(() => window.refused.length)) >= 2, 5000);
    assert.equal(await page.evaluate(() => window.fooled), undefined);
    await page.close();
  }
});

test("a page asks nobody but the gateway, and paints before it knows of any camera", async () => {
  for (const path of ["", "front-door/", "front-door/embed"]) {
    const asked = [];
    const page = await openPage(browser, href(path), {
      before: async (page) => {
        page.on("request", (request) => asked.push(request.url()));
        await page.route("**/api/streams*", () => {}); // Never answered.
      },
    });
    const paint = () => page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
    await until("a first paint", paint, 5000);
    assert.ok(asked.length > 5);
    const elsewhere = asked.filter((url) => !/^(data|blob):/.test(url) && new URL(url).origin !== new URL(gateway.base).origin);
    assert.deepEqual(elsewhere, []);
    await page.close();
  }
});
