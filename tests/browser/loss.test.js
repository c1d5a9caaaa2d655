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

/** Percent lost, and the share of the time that may be frozen by it. */
const BOUNDS = { 1: 0.005, 5: 0.02, 10: 0.1 };

for (const [percent, bound] of Object.entries(BOUNDS)) {
  test(`${percent} % loss freezes the picture less than ${bound * 100} % of the time, and the one beside it not at all`, async (context) => {
    const line = await startLine(5);
    context.after(() => line.stop());
    const [good, bad] = await Promise.all([
      playing(browser, gateway, STREAM),
      playing(browser, gateway, STREAM, (page) => through(page, line)),
    ]);
    await bad.waitForTimeout(2000);
    line.loss = percent / 100;
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
    } while (looks.length < 3 && looks.at(-1).behind.frozen >= looks.at(-1).beside.frozen + bound);
    const said = JSON.stringify(looks);
    console.log(`${percent} %: ${said}`);
    const sum = (of) => looks.reduce((sum, look) => sum + of(look), 0);
    // At 1 % chance may spare the picture; sound is not sent again, and makes up
    // half of the packets.
    assert.ok(sum(({ lost }) => lost) > 2 * (percent - 1) * looks.length, said);
    assert.ok(sum(({ behind }) => behind.sent_again) >= (percent - 1) * looks.length, said);
    assert.equal(sum(({ beside }) => beside.never_came), 0, said);
    // On a stream of their own (RFC 4588), which has come by now.
    assert.ok((await inbound(bad)).rtxSsrc, said);
    const { behind, beside } = looks.at(-1);
    assert.ok(behind.frozen < beside.frozen + bound, said);
    // Loss is not width: the main stream stays.
    const narrowed = await gateway.metric('porthole_webrtc_quality_changes_total{to="key_frames"}');
    assert.equal(narrowed, 0, said);
    await Promise.all([good.close(), bad.close()]);
  });
}
