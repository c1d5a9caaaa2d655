// One stream's page: the player, and what the gateway knows of the stream.
// Served as `/{stream}/`; `?mode=hls` or `?mode=webrtc` keeps to one way,
// `?quality=sub` shows the camera's smaller stream.

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
const asked = new URLSearchParams(location.search);
for (const key of ["mode", "quality"]) {
  if (asked.get(key)) camera.setAttribute(key, asked.get(key));
}
const isSub = asked.get("quality") === "sub";
for (const link of document.querySelectorAll(".ways a")) keepQuality(link);
document.querySelector("#player").append(camera);

/** Other ways to watch keep to the quality. */
function keepQuality(link) {
  const url = new URL(link.href);
  if (asked.get("quality")) url.searchParams.set("quality", asked.get("quality"));
  link.href = url;
}

/** A link to the quality that is not shown, where there are two. */
function otherQuality({ substream }) {
  if (!substream) return "";
  const url = new URL(location);
  if (isSub) url.searchParams.delete("quality");
  else url.searchParams.set("quality", "sub");
  return element("a", { href: url.href }, isSub ? "main stream" : "substream");
}

function tell(message) {
  trouble.textContent = message;
  trouble.hidden = message === "";
}

function show(streams) {
  const listed = streams.find((stream) => stream.name === name);
  const stream = isSub ? (listed?.substream ?? listed) : listed;
  tell(stream ? "" : "There is no stream of that name; the list of streams has those there are.");
  if (!stream) return;
  camera.status = stream;
  const lines = {
    Camera: `${stream.state} for ${ago(stream.since)}`,
    Media: describeTracks(stream.tracks) || "not known yet",
    Source: stream.source ?? "",
    "Also there": otherQuality(listed),
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
