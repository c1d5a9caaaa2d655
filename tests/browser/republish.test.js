// RTSP in, RTSP out: what an NVR behind the gateway gets, as ffmpeg sees it.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { startCameras, startGateway } from "./house.js";

const MOUNTS = ["h264-aac", "bframes", "h265-aac", "mjpeg"];
let cameras, gateway;

before(async () => {
  cameras = await startCameras(MOUNTS);
  const url = (mount) => `rtsp://127.0.0.1:${cameras.port}/${mount}`;
  gateway = await startGateway(Object.fromEntries(MOUNTS.map((mount) => [mount, url(mount)])));
  await Promise.all(MOUNTS.map(gateway.whenLive));
});

after(async () => {
  await gateway?.stop();
  await cameras?.stop();
});

const ffmpeg = (program, stream, before, after) => {
  const url = `rtsp://${gateway.rtsp}/${stream}`;
  const words = `-v warning -rtsp_transport tcp ${before} ${url} ${after}`.trim().split(/\s+/);
  return promisify(execFile)(program, words, { timeout: 60_000, maxBuffer: 1 << 26 });
};

for (const [mount, codec] of [
  ["h264-aac", "h264"],
  ["bframes", "h264"],
  ["h265-aac", "hevc"],
]) {
  test(`${mount} decodes without a fault, picture and sound`, async () => {
    const { stdout, stderr } = await ffmpeg("ffmpeg", mount, "-xerror -i", "-t 4 -f framehash -hash md5 -");
    // Timestamps before the first B-frame's are ffmpeg's guess, and it says so.
    const faults = stderr.split("\n").filter((line) => /error|corrupt|missed|invalid|concealing/i.test(line));
    assert.deepEqual(faults, []);
    const frames = stdout.split("\n").filter((line) => line && !line.startsWith("#"));
    const count = (track) => frames.filter((line) => line.startsWith(`${track},`)).length;
    const [video, audio] = stdout.includes("#media_type 0: video") ? [0, 1] : [1, 0];
    assert.ok(count(video) >= 97, `${count(video)} pictures of ${codec} in 4 s`);
    assert.ok(count(audio) >= 180, `${count(audio)} frames of AAC in 4 s`);
  });
}

test("MJPEG is refused with 415", async () => {
  const refused = ffmpeg("ffprobe", "mjpeg", "", "");
  await assert.rejects(refused, ({ stderr }) => /415/.test(stderr));
});
