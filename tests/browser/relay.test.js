// A viewer that may use nothing but a TURN server's relay plays through a real one.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { startHouse, until } from "./house.js";
import { inbound, playing } from "./viewer.js";

const STREAM = "h264-pcma";
const LOGIN = { username: "ann", credential: "relay-secret" };

const freePort = () =>
  new Promise((resolve) => {
    const socket = createSocket("udp4").bind(0, "127.0.0.1", () => {
      const { port } = socket.address();
      socket.close(() => resolve(port));
    });
  });

/** Whether something answers a Binding request (RFC 8489) there. */
function answers(port) {
  const socket = createSocket("udp4");
  const request = Buffer.from("000100002112a442000102030405060708090a0b", "hex");
  return new Promise((resolve) => {
    const done = (value) => socket.close(() => resolve(value));
    const timer = setTimeout(done, 200, false);
    socket.once("message", () => (clearTimeout(timer), done(true)));
    socket.send(request, port, "127.0.0.1");
  });
}

/** coturn, on loopback alone. */
async function startTurn() {
  const home = mkdtempSync(join(tmpdir(), "porthole-turn-"));
  const port = await freePort();
  const flags = {
    "listening-ip": "127.0.0.1",
    "relay-ip": "127.0.0.1",
    "listening-port": port,
    user: `${LOGIN.username}:${LOGIN.credential}`,
    realm: "house",
    "log-file": "stdout",
    pidfile: join(home, "pid"),
    userdb: join(home, "db"),
  };
  const switches = ["-n", "--lt-cred-mech", "--no-cli", "--no-tls", "--no-dtls", "--allow-loopback-peers", "--no-tcp-relay"];
  const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
  const child = spawn("turnserver", [...switches, ...args], { cwd: home, stdio: ["ignore", "pipe", "pipe"] });
  const log = [];
  child.on("error", (error) => log.push(String(error)));
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => log.push(String(text)));
  const ended = new Promise((resolve) => child.once("close", resolve));
  const kill = () => child.kill("SIGKILL");
  process.on("exit", kill);
  const turn = {
    port,
    async stop() {
      kill();
      await ended;
      process.off("exit", kill);
      rmSync(home, { recursive: true });
    },
  };
  try {
    await until("the TURN server", () => answers(port), 20_000);
  } catch (error) {
    await turn.stop();
    throw new Error(`${error.message}\n${log.join("").slice(-2000)}`);
  }
  return turn;
}

let house, turn;

before(async () => {
  turn = await startTurn();
  const urls = [`turn:127.0.0.1:${turn.port}?transport=udp`];
  house = await startHouse([STREAM], { webrtc: { listen: "127.0.0.1:0", ice_servers: [{ urls, ...LOGIN }] } });
});

after(async () => {
  await house?.stop();
  await turn?.stop();
});

test("a viewer that may use a relay alone plays through the gateway's TURN server", async () => {
  const relayed = (page) =>
    page.addInitScript(() => {
      const Direct = RTCPeerConnection;
      window.RTCPeerConnection = class extends Direct {
        constructor(config) {
          super({ ...config, iceTransportPolicy: "relay" });
        }
        setConfiguration(config) {
          super.setConfiguration({ ...config, iceTransportPolicy: "relay" });
        }
      };
    });
  const page = await playing(house.browser, house.gateway, STREAM, relayed, 60_000);
  const before = (await inbound(page)).framesDecoded;
  await until("pictures", async () => (await inbound(page)).framesDecoded > before + 25, 20_000);
  const ours = await page.evaluate(async () => {
    const stats = await window.peers.at(-1).getStats();
    const transport = [...stats.values()].find(({ type }) => type === "transport");
    const { candidateType, protocol } = stats.get(stats.get(transport.selectedCandidatePairId).localCandidateId);
    return [candidateType, protocol];
  });
  assert.deepEqual(ours, ["relay", "udp"]);
  assert.deepEqual(page.complaints, []);
  await page.close();
});
