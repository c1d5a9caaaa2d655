// The wall: every stream, live, in a grid.

import "./porthole.js";
import { describeTracks, element } from "./elements.js";
import { pollStreams } from "./streams.js";

const wall = document.querySelector("#wall");
const empty = document.querySelector("#empty");
const trouble = document.querySelector("#trouble");
const tiles = new Map();

/** Plays what is on the screen: forty cameras below the fold cost nothing. */
const visible = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      const { camera, picture } = target.parts;
      if (isIntersecting && !camera.isConnected) picture.append(camera);
      else if (!isIntersecting) camera.remove();
    }
  },
  { rootMargin: "200px" },
);

function makeTile(name) {
  const camera = document.createElement("porthole-camera");
  camera.setAttribute("src", `${name}/`);
  camera.setAttribute("label", name);
  const picture = element("div", { className: "picture" });
  const facts = element("span", { className: "facts" });
  const link = element("a", { href: `${name}/` }, name);
  const tile = element("article", { className: "tile" }, picture, element("h2", {}, link), facts);
  tile.parts = { camera, picture, facts };
  visible.observe(tile);
  return tile;
}

function show(streams) {
  trouble.hidden = true;
  empty.hidden = streams.length > 0;
  for (const [name, tile] of tiles) {
    if (streams.some((stream) => stream.name === name)) continue;
    visible.unobserve(tile);
    tile.remove();
    tiles.delete(name);
  }
  streams.forEach((stream, place) => {
    let tile = tiles.get(stream.name);
    if (!tile) {
      tile = makeTile(stream.name);
      tiles.set(stream.name, tile);
      // Only a new tile is placed: moving one would restart its player.
      wall.insertBefore(tile, wall.children[place] ?? null);
    }
    tile.parts.facts.textContent = describeTracks(stream.tracks);
    tile.parts.camera.status = stream;
  });
  wall.dataset.count = Math.min(streams.length, 5);
}

pollStreams("api/streams", show, (fault) => {
  trouble.textContent = [fault.title, fault.hint].filter(Boolean).join(" ");
  trouble.hidden = false;
});
