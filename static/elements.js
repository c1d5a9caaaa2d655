// Small pieces of page. Text is only ever set as text: names and messages may
// come from a camera.

export function element(kind, properties = {}, ...children) {
  const made = Object.assign(document.createElement(kind), properties);
  made.append(...children);
  return made;
}

export function button(text, onclick) {
  return element("button", { type: "button", onclick }, text);
}

const ICONS = {
  sound: "M4 9v6h4l5 4V5L8 9zm12-1a5 5 0 0 1 0 8m2-11a9 9 0 0 1 0 14",
  muted: "M4 9v6h4l5 4V5L8 9zm12 0 5 6m0-6-5 6",
  full: "M4 9V4h5m6 0h5v5m0 6v5h-5m-6 0H4v-5",
};

/** Makes `button` show an icon that is read out as `label`. */
export function setIcon(button, icon, label) {
  const make = (kind) => document.createElementNS("http://www.w3.org/2000/svg", kind);
  const [svg, path] = [make("svg"), make("path")];
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[icon]);
  svg.append(path);
  button.replaceChildren(svg);
  button.setAttribute("aria-label", label);
  button.title = label;
}

/** "H.264 1280 × 720, PCMA" */
export function describeTracks(tracks = []) {
  const describe = ({ codec, width, height }) => (width ? `${codec} ${width} × ${height}` : codec);
  return tracks.map(describe).join(", ");
}

/** "3 min", for how long a state has lasted. */
export function ago(time) {
  const seconds = Math.max(0, (Date.now() - Date.parse(time)) / 1000);
  if (Number.isNaN(seconds)) return "";
  const [unit, length] = [["d", 86400], ["h", 3600], ["min", 60]].find(([, n]) => seconds >= n) ?? ["s", 1];
  return `${Math.floor(seconds / length)} ${unit}`;
}
