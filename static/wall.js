// The wall: every stream, live, in a grid; one of them large at a click.

import "./porthole.js";
import { ago, button, describeTracks, element, setIcon, setText } from "./elements.js";
import { follow } from "./streams.js";

/** @typedef {import("./streams.js").Stream} Stream */
/** @typedef {{ tile: HTMLElement, camera: HTMLElement, facts: HTMLElement, open: HTMLElement, close: HTMLElement }} Tile */

const $ = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const [wall, empty, trouble, summary] = ["wall", "empty", "trouble", "summary"].map($);
/** @type {Map<string, Tile>} */
const tiles = new Map();

/** Narrower than this nothing is seen: the page scrolls instead. */
const LEAST_TILE = 220;
const GAP = 8;

/** @param {string} name */
function makeTile(name) {
  const camera = document.createElement("porthole-camera");
  for (const [key, value] of Object.entries({ src: `${name}/`, label: name, controls: "false" })) {
    camera.setAttribute(key, value);
  }
  const link = element("a", { href: `${name}/` }, name);
  const facts = element("span", { className: "facts" });
  // As large as the picture: the whole tile is a button, the name a link.
  const open = button("", () => (location.hash = name));
  open.className = "open";
  open.setAttribute("aria-label", `Enlarge ${name}`);
  const close = button("", shrink);
  close.className = "close";
  setIcon(close, "close", "Back to the wall");
  close.hidden = true;
  const tile = element("article", { className: "tile" }, camera, open, element("h2", {}, link), facts, close);
  return { tile, camera, facts, open, close };
}

/** @param {Stream[]} streams */
function show(streams) {
  trouble.hidden = true;
  empty.hidden = streams.length > 0;
  for (const [name, { tile }] of tiles) {
    if (streams.some((stream) => stream.name === name)) continue;
    tile.remove();
    tiles.delete(name);
  }
  streams.forEach((stream, place) => {
    let made = tiles.get(stream.name);
    if (!made) {
      made = makeTile(stream.name);
      tiles.set(stream.name, made);
      // Only a new tile is placed: moving one would restart its player.
      wall.insertBefore(made.tile, wall.children[place] ?? null);
    }
    const down = stream.state === "down" ? `down for ${ago(stream.since)}` : "";
    setText(made.facts, down || describeTracks(stream.tracks));
  });
  const dead = streams.filter(({ state }) => state === "down").length;
  const count = `${streams.length} camera${streams.length === 1 ? "" : "s"}`;
  setText(summary, streams.length ? (dead ? `${count}, ${dead} without a picture` : count) : "");
  document.body.classList.toggle("trouble", dead > 0);
  arrange();
  enlarge();
}

/** As few columns as show every tile without scrolling; or as many as still can
 *  be seen. */
function arrange() {
  const count = tiles.size;
  const { width } = wall.getBoundingClientRect();
  const height = innerHeight - wall.getBoundingClientRect().top - scrollY - GAP;
  let best = { columns: 1, tile: 0 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const across = (width - GAP * (columns - 1)) / columns;
    const down = (((height - GAP * (rows - 1)) / rows) * 16) / 9;
    const tile = Math.min(across, down);
    if (tile > best.tile) best = { columns, tile };
  }
  const most = Math.max(1, Math.floor((width + GAP) / (LEAST_TILE + GAP)));
  if (best.tile < LEAST_TILE || width < 520) {
    best = { columns: Math.min(most, count), tile: Infinity };
  }
  wall.style.setProperty("--columns", String(best.columns));
  wall.style.setProperty("--tile", best.tile === Infinity ? "1fr" : `${Math.floor(best.tile)}px`);
}

/** Shows the tile named after `#` large. */
function enlarge() {
  const name = location.hash.slice(1);
  for (const [one, { tile, camera, open, close }] of tiles) {
    const large = one === name;
    if (tile.classList.contains("large") === large) continue;
    tile.classList.toggle("large", large);
    open.hidden = large;
    close.hidden = !large;
    camera.setAttribute("controls", String(large));
    // Where the keyboard was, or will look for the way back.
    (large ? close : open).focus({ preventScroll: true });
  }
  document.body.classList.toggle("enlarged", tiles.has(name));
}

function shrink() {
  // Not "back": the page may have been opened like this.
  history.replaceState(null, "", location.pathname + location.search);
  enlarge();
}

addEventListener("hashchange", enlarge);
addEventListener("resize", arrange);
addEventListener("keydown", ({ key }) => {
  const names = [...wall.querySelectorAll("article")].map((tile) => tile.querySelector("h2")?.textContent ?? "");
  const at = names.indexOf(location.hash.slice(1));
  if (at < 0 || document.fullscreenElement) return;
  if (key === "Escape") shrink();
  const step = { ArrowRight: 1, ArrowLeft: -1 }[key] ?? 0;
  if (step) location.replace(`#${names[(at + step + names.length) % names.length]}`);
});

follow(new URL("api/streams", document.baseURI), show, (fault) => {
  setText(trouble, [fault.title, fault.hint].filter(Boolean).join(" "));
  trouble.hidden = false;
});
