// The gateway's TURN servers reach the browser's connection: the page asks them
// for a relay, with the login that the configuration gives.

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { after, before, test } from "node:test";
import { startHouse, until } from "./house.js";
import { playing } from "./viewer.js";

// RFC 8489 §5 and §14; RFC 8656 §17.
const ALLOCATE = 0x0003;
const REFUSED = 0x0113;
const USERNAME = 0x0006;
const LOGIN_WANTED = Buffer.from([0, 0, 4, 1]);

const attribute = (type, value) => {
  const head = Buffer.alloc(4);
  head.writeUInt16BE(type, 0);
  head.writeUInt16BE(value.length, 2);
  return Buffer.concat([head, value, Buffer.alloc(-value.length & 3)]);
};

/** The value of a request's attribute, as text. */
function read(request, wanted) {
  for (let at = 20; at + 4 <= request.length; ) {
    const [type, length] = [request.readUInt16BE(at), request.readUInt16BE(at + 2)];
    if (type === wanted) return request.toString("utf8", at + 4, at + 4 + length);
    at += 4 + ((length + 3) & ~3);
  }
  return undefined;
}

/** A TURN server that lets nobody in, and remembers who asked. */
function startTurn() {
  const socket = createSocket("udp4");
  const turn = { names: [], stop: () => socket.close() };
  socket.on("message", (request, from) => {
    if (request.readUInt16BE(0) !== ALLOCATE) return;
    turn.names.push(read(request, USERNAME));
    const body = [[0x0009, LOGIN_WANTED], [0x0014, Buffer.from("house")], [0x0015, Buffer.from("nonce")]];
    const attributes = Buffer.concat(body.map(([type, value]) => attribute(type, value)));
    const head = Buffer.from(request.subarray(0, 20));
    head.writeUInt16BE(REFUSED, 0);
    head.writeUInt16BE(attributes.length, 2);
    socket.send(Buffer.concat([head, attributes]), from.port, from.address);
  });
  return new Promise((resolve) =>
    socket.bind(0, "127.0.0.1", () => resolve(Object.assign(turn, { port: socket.address().port }))),
  );
}

let house, turn;

before(async () => {
  turn = await startTurn();
  const urls = [`turn:127.0.0.1:${turn.port}?transport=udp`];
  const login = { username: 'ann, "the" first', credential: String.raw`pa"ss\word; x` };
  const ice_servers = ["stun:127.0.0.1:9", { urls, ...login }];
  house = await startHouse(["h264-pcma"], { webrtc: { listen: "127.0.0.1:0", ice_servers } });
});

after(async () => {
  await house?.stop();
  turn?.stop();
});

test("the page asks the gateway's TURN server for a relay, and plays without one meanwhile", async () => {
  const page = await playing(house.browser, house.gateway, "h264-pcma");
  const servers = await page.evaluate(() => window.peers[0].getConfiguration().iceServers);
  const told = servers.map(({ urls, username, credential }) => [[urls].flat()[0], username, credential]);
  assert.deepEqual(told, [
    ["stun:127.0.0.1:9", "", ""],
    [`turn:127.0.0.1:${turn.port}?transport=udp`, 'ann, "the" first', String.raw`pa"ss\word; x`],
  ]);
  await until("a request with the login", () => turn.names.includes('ann, "the" first'), 10_000);
  assert.deepEqual(page.complaints, []);
  await page.close();
});
