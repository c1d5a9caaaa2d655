// Small pieces of page. Text is only ever set as text: names and messages may
// come from a camera.

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} kind
 * @param {Record<string, any>} properties
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(kind, properties = {}, ...children) {
  const made = Object.assign(document.createElement(kind), properties);
  made.append(...children);
  return made;
}

/** @param {string} text @param {(event: MouseEvent) => void} onclick */
export function button(text, onclick) {
  return element("button", { type: "button", onclick }, text);
}

const ICONS = {
  play: "M7 4l13 8-13 8z",
  pause: "M8 5v14M16 5v14",
  sound: "M4 9v6h4l5 4V5L8 9zm12-1a5 5 0 0 1 0 8m2-11a9 9 0 0 1 0 14",
  muted: "M4 9v6h4l5 4V5L8 9zm12 0 5 6m0-6-5 6",
  full: "M4 9V4h5m6 0h5v5m0 6v5h-5m-6 0H4v-5",
  small: "M9 4v5H4m16 0h-5V4m0 16v-5h5M4 15h5v5",
  photo: "M4 8h3l2-3h6l2 3h3v11H4zm8 2a3.5 3.5 0 1 0 0 7 3.5 3.5 0 1 0 0-7",
  facts: "M4 20V10m5.5 10V4M15 20v-7m5 7V8",
  close: "M6 6l12 12M18 6L6 18",
};

/** Makes `button` show an icon that is read out as `label`.
 * @param {HTMLElement} button @param {keyof typeof ICONS} icon @param {string} label */
export function setIcon(button, icon, label) {
  if (button.title === label) return;
  const make = (/** @type {string} */ kind) => document.createElementNS("http://www.w3.org/2000/svg", kind);
  const [svg, path] = [make("svg"), make("path")];
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[icon]);
  svg.append(path);
  button.replaceChildren(svg);
  button.setAttribute("aria-label", label);
  button.title = label;
}

/** Sets text only when it differs: a live region reads out every change.
 * @param {Node} node @param {string} text */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** "H.264 1280 × 720, PCMA"
 * @param {import("./streams.js").Track[]} tracks */
export function describeTracks(tracks = []) {
  return tracks.map(({ codec, width, height }) => (width ? `${codec} ${width} × ${height}` : codec)).join(", ");
}

/** "3 min", for how long a state has lasted.
 * @param {string} time RFC 3339 */
export function ago(time) {
  const seconds = Math.max(0, (Date.now() - Date.parse(time)) / 1000);
  if (Number.isNaN(seconds)) return "";
  /** @type {[string, number][]} */
  const units = [["d", 86400], ["h", 3600], ["min", 60]];
  const [unit, length] = units.find(([, n]) => seconds >= n) ?? ["s", 1];
  return `${Math.floor(seconds / length)} ${unit}`;
}
