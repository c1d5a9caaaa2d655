// What the browser tests run on: test cameras, the gateway, Chromium. All on
// loopback, on ports the system picks, and gone when the tests are.

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach } from "node:test";
import { chromium } from "playwright-core";

const TESTS = join(import.meta.dirname, "..");
const BINARY = process.env.PORTHOLE_BIN ?? join(TESTS, "../target/debug/porthole");
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
export const ARTEFACTS = join(TESTS, "artefacts");
mkdirSync(ARTEFACTS, { recursive: true });

const children = new Set();
process.on("exit", () => children.forEach((child) => child.kill("SIGKILL")));

/** Runs a program and hands its lines of JSON to `onLine`. */
function run(program, args, env, onLine) {
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  children.add(child);
  const log = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on("line", (line) => {
      log.push(line);
      if (!line.startsWith("{")) return;
      try {
        onLine(JSON.parse(line));
      } catch {
        // A line that only looks like JSON.
      }
    });
  }
  const ended = new Promise((resolve) => {
    child.on("error", (error) => (log.push(String(error)), resolve()));
    child.on("exit", resolve);
  });
  return {
    log,
    ended,
    async stop() {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
      await ended;
      clearTimeout(timer);
      children.delete(child);
    },
  };
}

/** Waits until `check` gives something; says `what` was awaited if it never does. */
export async function until(what, check, ms = 30_000) {
  for (const end = Date.now() + ms; ; ) {
    const value = await check();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${what}: not within ${ms / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const failed = (program, what) => () => {
  throw new Error(`${what} ended:\n${program.log.slice(-20).join("\n")}`);
};

/** GStreamer's cameras: `{ port, mounts, started: {mount: seconds}, stop }`. */
export async function startCameras(mounts, options = []) {
  const cameras = { started: {} };
  const program = run(join(TESTS, "cameras/cameras.py"), [...options, ...mounts], {}, (line) => {
    if (line.port) Object.assign(cameras, line);
    if (line.started) cameras.started[line.mount] = line.started;
  });
  // Clips are made on the first run.
  await Promise.race([
    until("test cameras", () => cameras.port, 180_000),
    program.ended.then(failed(program, "the cameras' server")),
  ]);
  return Object.assign(cameras, { stop: program.stop });
}

/** `porthole serve` with `streams` (name to what the file says of it). */
export async function startGateway(streams, more = {}) {
  const home = mkdtempSync(join(tmpdir(), "porthole-"));
  const file = join(home, "porthole.yaml");
  // JSON is YAML.
  const listen = "127.0.0.1:0";
  const config = { listen, admin: { listen }, webrtc: { listen }, rtsp: { listen }, streams, ...more };
  writeFileSync(file, JSON.stringify(config));
  let base = "";
  let admin = "";
  let rtsp = "";
  const program = run(BINARY, ["serve", "--config", file, "--log-format", "json"], {}, (line) => {
    base = line.pages ?? base;
    admin = line.pages ? `http://${line.admin}` : admin;
    rtsp = line.rtsp ?? rtsp;
  });
  await Promise.race([
    until("the gateway", () => base && rtsp),
    program.ended.then(failed(program, "the gateway")),
  ]);
  const list = async () => (await (await fetch(new URL("api/streams", base))).json()).streams;
  return {
    base,
    rtsp,
    log: program.log,
    list,
    /** The value of a metric, by its line up to the space; 0 if it is not there. */
    metric: async (name) => {
      const text = await (await fetch(`${admin}/metrics`)).text();
      return Number(text.split("\n").find((line) => line.startsWith(`${name} `))?.split(" ")[1] ?? 0);
    },
    whenLive: (name) =>
      until(`${name} live`, async () =>
        (await list()).some((stream) => stream.name === name && stream.state === "live"),
      ).catch((error) => {
        throw new Error(`${error.message}\n${program.log.slice(-20).join("\n")}`);
      }),
    async stop() {
      await program.stop();
      rmSync(home, { recursive: true });
    },
  };
}

/** What `share` does takes that long on the machine whose figures the README has, in
 *  milliseconds, where nobody else uses it. */
const UNDISTURBED = 4;
/** How much longer a piece of work takes here and now: a slow processor, and one that others
 *  take, also from outside of this machine, where no load tells of them. */
function share() {
  const turns = 30;
  const begun = performance.now();
  let x = 1;
  for (let i = 0; i < turns * 2e6; i++) x = (Math.imul(x, 1103515245) + 12345) ^ (x >>> 7);
  // Its result is used, or it would not be computed.
  return (performance.now() - begun + (x & 1) / 1e6) / turns / UNDISTURBED;
}

/** How many times as long as promised a picture may take: once, unless others keep
 *  the machine more than twice as busy as it can be, or it is slow. Asked before a test's
 *  own load. */
export const slack = () => Math.max(1, loadavg()[0] / (2 * availableParallelism()), share());

export const startChromium = () =>
  chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--mute-audio"] });

/** Test cameras, a gateway that has each under its mount's name, and Chromium;
 *  all cameras live. `more` goes into the gateway's file. */
export async function startHouse(mounts, more) {
  const house = {
    async stop() {
      await house.browser?.close();
      await house.gateway?.stop();
      await house.cameras?.stop();
    },
  };
  try {
    house.cameras = await startCameras(mounts);
    const url = (mount) => `rtsp://127.0.0.1:${house.cameras.port}/${mount}`;
    // `yard=long-gop` is that clip under another name.
    const names = mounts.map((mount) => mount.replace(/=.*/, ""));
    house.gateway = await startGateway(Object.fromEntries(names.map((name) => [name, url(name)])), more);
    house.browser = await startChromium();
    await Promise.all(names.map(house.gateway.whenLive));
  } catch (error) {
    await house.stop();
    throw error;
  }
  return house;
}

/** Of the test that runs. */
const pages = new Set();
// A test that fails leaves its pages open: they would play on, and cost the next one.
afterEach(async () => {
  await Promise.all([...pages].map((page) => page.close().catch(() => {})));
  pages.clear();
});

/** A page that keeps what it complains about in `page.complaints`. */
export async function openPage(browser, url, options = {}) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, ...options });
  pages.add(page);
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(`uncaught: ${error.message}`));
  page.on("console", (message) => {
    // A poster that is not there is done without.
    if (/snapshot\.jpg/.test(message.location().url)) return;
    if (["error", "warning"].includes(message.type())) page.complaints.push(`${message.text()} ${message.location().url}`.trim());
  });
  await options.before?.(page);
  await page.goto(url);
  return page;
}
