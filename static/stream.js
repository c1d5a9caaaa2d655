// One stream's page: the player, and what the gateway knows of the stream.
// Served as `/{stream}/`; `?mode=hls` or `?mode=webrtc` keeps to one way.

import "./porthole.js";
import { ago, describeTracks, element } from "./elements.js";
import { pollStreams } from "./streams.js";

const name = decodeURIComponent(location.pathname.split("/").filter(Boolean).at(-1) ?? "");
const facts = document.querySelector("#facts");
const notes = document.querySelector("#notes");
const trouble = document.querySelector("#trouble");

document.title = `${name} · Porthole`;
document.querySelector("#name").textContent = name;

const camera = document.createElement("porthole-camera");
camera.setAttribute("src", "./");
camera.setAttribute("label", name);
const mode = new URLSearchParams(location.search).get("mode");
if (mode) camera.setAttribute("mode", mode);
document.querySelector("#player").append(camera);

function tell(message) {
  trouble.textContent = message;
  trouble.hidden = message === "";
}

function show(streams) {
  const stream = streams.find((stream) => stream.name === name);
  tell(stream ? "" : "There is no stream of that name; the list of streams has those there are.");
  if (!stream) return;
  camera.status = stream;
  const lines = {
    Camera: `${stream.state} for ${ago(stream.since)}`,
    Media: describeTracks(stream.tracks) || "not known yet",
    Source: stream.source ?? "",
  };
  const pairs = Object.entries(lines).filter(([, value]) => value);
  facts.replaceChildren(
    ...pairs.flatMap(([key, value]) => [element("dt", {}, key), element("dd", {}, value)]),
  );
  const remarks = (stream.notes ?? []).map(({ title, hint, detail }) =>
    element("li", {}, [title, detail, hint].filter(Boolean).join(" ")),
  );
  notes.replaceChildren(...remarks);
  notes.hidden = remarks.length === 0;
}

pollStreams("../api/streams", show, ({ title, hint }) => tell([title, hint].filter(Boolean).join(" ")));
