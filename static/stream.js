// One stream's page: the player, what is known of the stream, and how to put it
// on a page of one's own. Served as `/{stream}/`; `?mode=hls` keeps to one way,
// `?quality=sub` shows the camera's smaller stream.

import "./porthole.js";
import { ago, button, describeTracks, element, setIcon, setText } from "./elements.js";
import { Overlay } from "./overlay.js";
import { follow } from "./streams.js";

const $ = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const [facts, notes, trouble, player] = ["facts", "notes", "trouble", "player"].map($);
const name = decodeURIComponent(location.pathname.split("/").filter(Boolean).at(-1) ?? "");

document.title = `${name} · Porthole`;
$("name").textContent = name;

const camera = /** @type {any} */ (document.createElement("porthole-camera"));
camera.setAttribute("src", "./");
camera.setAttribute("label", name);
const asked = new URLSearchParams(location.search);
for (const key of ["mode", "quality", "token"]) {
  if (asked.get(key)) camera.setAttribute(key, asked.get(key));
}

// Buttons of this page, among the player's own.
const overlay = new Overlay(camera);
const numbers = button("", () => {
  overlay.toggle();
  numbers.setAttribute("aria-pressed", String(overlay.isOpen));
});
setIcon(numbers, "facts", "Statistics");
numbers.setAttribute("aria-pressed", "false");
const photo = button("", save);
setIcon(photo, "photo", "Save a snapshot");
for (const one of [numbers, photo]) {
  one.slot = "controls";
  one.className = "icon";
}
camera.append(numbers, photo);
player.append(camera, overlay.table);
addEventListener("keydown", ({ key, altKey, ctrlKey, metaKey }) => {
  if (key === "s" && !altKey && !ctrlKey && !metaKey) numbers.click();
});

/** Saves the picture shown, as large as the camera sends it. */
async function save() {
  const picture = await camera.picture();
  if (!picture) return tell("There is no picture to save yet.");
  const time = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  const link = element("a", { href: URL.createObjectURL(picture), download: `${name}-${time}.jpg` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// Other ways to watch keep to the quality.
for (const link of document.querySelectorAll(".ways a")) {
  if (!(link instanceof HTMLAnchorElement)) continue;
  const url = new URL(link.href);
  for (const key of ["quality", "token"]) {
    const value = asked.get(key);
    if (value) url.searchParams.set(key, value);
  }
  link.href = url.href;
}

/** A link to the quality that is not shown, where there are two.
 * @param {import("./streams.js").Stream} stream */
function otherQuality({ substream }) {
  if (!substream) return "";
  const isSub = camera.quality === "sub";
  const url = new URL(location.href);
  url.searchParams.set("quality", isSub ? "main" : "sub");
  return element("a", { href: url.href }, isSub ? "main stream" : "substream");
}

/** @param {string} message */
function tell(message) {
  setText(trouble, message);
  trouble.hidden = message === "";
}

/** @param {import("./streams.js").Stream[]} streams */
function show(streams) {
  const listed = streams.find((stream) => stream.name === name);
  tell(listed ? "" : "There is no stream of that name; the list of streams has those there are.");
  if (!listed) return;
  const stream = (camera.quality === "sub" && listed.substream) || listed;
  /** @type {Record<string, string | Node>} */
  const lines = {
    Camera: `${stream.state} for ${ago(stream.since)}`,
    Media: describeTracks(stream.tracks) || "not known yet",
    Source: stream.source ?? "",
    "Also there": otherQuality(listed),
  };
  const pairs = Object.entries(lines).filter(([, value]) => value);
  facts.replaceChildren(...pairs.flatMap(([key, value]) => [element("dt", {}, key), element("dd", {}, value)]));
  const remarks = (stream.notes ?? []).map(({ title, hint, detail }) =>
    element("li", {}, [title, detail, hint].filter(Boolean).join(" ")),
  );
  notes.replaceChildren(...remarks);
  notes.hidden = remarks.length === 0;
}

// Code to copy.
const here = new URL("./", location.href);
const code = {
  frame: `<iframe src="${here.href}embed" width="640" height="360" allow="autoplay; fullscreen; picture-in-picture" style="border:0"></iframe>`,
  element: `<script type="module" src="${new URL("../porthole.js", here).href}"></script>\n<porthole-camera src="${here.href}"></porthole-camera>`,
};
for (const [kind, text] of Object.entries(code)) {
  const box = $(`code-${kind}`);
  const copy = button("Copy", async () => {
    // Without HTTPS there is no clipboard to write: then it is selected.
    await navigator.clipboard?.writeText(text).then(
      () => (setText(copy, "Copied"), setTimeout(() => setText(copy, "Copy"), 2000)),
      () => getSelection()?.selectAllChildren(box),
    );
    if (!navigator.clipboard) getSelection()?.selectAllChildren(box);
  });
  setText(box, text);
  box.after(copy);
}

const list = new URL("../api/streams", here);
const token = asked.get("token");
if (token) list.searchParams.set("token", token);
follow(list, show, ({ title, hint }) => tell([title, hint].filter(Boolean).join(" ")));
