// A viewer behind a line that loses: loss.js measures, this makes sure.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startCameras, startChromium, startGateway } from "./house.js";
import { startLine, through } from "./line.js";
import { between, inbound, playing } from "./viewer.js";

const STREAM = "h264-pcma";
let cameras, gateway, browser;

before(async () => {
  cameras = await startCameras([STREAM]);
  gateway = await startGateway({ [STREAM]: `rtsp://127.0.0.1:${cameras.port}/${STREAM}` });
  browser = await startChromium();
  await gateway.whenLive(STREAM);
});

after(async () => {
  await browser?.close();
  await gateway?.stop();
  await cameras?.stop();
});

test("5 % loss freezes the picture less than 2 % of the time, and the one beside it not at all", async (context) => {
  const line = await startLine(5);
  context.after(() => line.stop());
  const [good, bad] = await Promise.all([
    playing(browser, gateway, STREAM),
    playing(browser, gateway, STREAM, (page) => through(page, line)),
  ]);
  await bad.waitForTimeout(2000);
  const before = await Promise.all([good, bad].map((page) => inbound(page)));
  line.loss = 0.05;
  await bad.waitForTimeout(8000);
  const after = await Promise.all([good, bad].map((page) => inbound(page)));
  const [beside, behind] = before.map((one, at) => between(one, after[at]));
  const both = JSON.stringify({ line: { lost: line.lost, passed: line.passed }, behind, beside });
  console.log(both);
  assert.ok(line.lost >= 20, both);
  // Sound is not sent again, and makes up half of the packets.
  assert.ok(behind.sent_again >= 10, both);
  assert.ok(beside.never_came === 0, both);
  // A busy machine freezes both: what the loss adds is what counts.
  assert.ok(behind.frozen < beside.frozen + 0.02, both);
  await Promise.all([good.close(), bad.close()]);
});
