// One stream for an `<iframe>`: `/{stream}/embed`. Parameters are the element's
// attributes: `controls muted autoplay mode quality token`, as in
// `?controls=false&mode=mse`.

import "./porthole.js";

const camera = document.createElement("porthole-camera");
camera.setAttribute("src", "./");
const asked = new URLSearchParams(location.search);
for (const key of ["controls", "muted", "autoplay", "mode", "quality", "token"]) {
  const value = asked.get(key);
  // `?muted` is `?muted=true`.
  if (value) camera.setAttribute(key, value);
}
const name = decodeURIComponent(location.pathname.split("/").filter(Boolean).at(-2) ?? "");
camera.setAttribute("label", name);
document.title = `${name} · Porthole`;
document.body.append(camera);
