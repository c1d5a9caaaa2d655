// How a camera looks, inside its element. Pages restyle it by the parts named
// in porthole.js.

const CSS = `
:host {
  container-type: inline-size;
  position: relative;
  display: block;
  aspect-ratio: 16 / 9;
  overflow: hidden;
  background: #05070c;
  color: #fff;
  font: 16px/1.5 system-ui, sans-serif;
}
:host([hidden]), [hidden] { display: none !important; }
:host(:fullscreen) { aspect-ratio: auto; border-radius: 0; }
* { box-sizing: border-box; }
:focus-visible { outline: 3px solid #f0a063; outline-offset: 2px; }
.stage, .stage > * { position: absolute; inset: 0; width: 100%; height: 100%; }
.stage > * { object-fit: contain; }
.stage > :not(.shown, .still) { opacity: 0; }
.shown, .still { transition: opacity .3s; }
:host(:not([data-state="live"])) .stage, :host([stalled]) .stage { opacity: .45; }
:host([data-state="down"]) .stage { opacity: .2; filter: grayscale(.7); }

.message {
  position: absolute;
  inset: 0;
  display: flex;
  flex-direction: column;
  align-items: center;
  justify-content: safe center;
  gap: .35rem;
  /* Below what stands in the corners. */
  padding: 2.4rem clamp(.6rem, 8%, 4rem) 1rem;
  text-align: center;
  text-shadow: 0 1px 3px #000c;
  overflow: auto;
  pointer-events: none;
}
.message > * { flex: none; max-width: 44rem; overflow-wrap: anywhere; }
p { margin: 0; }
p:empty { display: none; }
.title { font-size: 1.05rem; font-weight: 600; }
.detail { color: #c6cbd8; font-size: .85rem; }
.hint { color: #f3d9c3; font-size: .92rem; }
.retry { color: #c6cbd8; font-size: .85rem; }
.message button { margin-top: .5rem; pointer-events: auto; }
.spinner {
  display: none;
  width: 2.2rem;
  height: 2.2rem;
  border: 3px solid #fff4;
  border-top-color: #fff;
  border-radius: 50%;
  animation: turn 1s linear infinite;
}
:host([data-state="connecting"]) .spinner { display: block; }
@keyframes turn { to { transform: rotate(1turn); } }
@media (prefers-reduced-motion: reduce) {
  .spinner { animation-duration: 6s; }
  .shown, .still { transition: none; }
}

.badge, .notice { padding: .1rem .6rem; border-radius: 1rem; background: #000b; font-size: .8rem; white-space: nowrap; }
.badge {
  position: absolute;
  inset: .6rem .6rem auto auto;
  display: inline-flex;
  align-items: center;
  gap: .4rem;
}
.badge::before { content: ""; width: .55rem; height: .55rem; border-radius: 50%; background: #ffca5c; }
:host([data-state="live"]:not([stalled])) .badge::before { background: #4fd08a; }
:host([data-state="down"]) .badge::before { background: #ff6b60; }
:host([data-state="paused"]) .badge::before { background: #9aa3ba; }
.notice { min-width: 0; color: #f3d9c3; overflow: hidden; text-overflow: ellipsis; }
.notice:empty { display: none; }

.bar {
  position: absolute;
  inset: auto 0 0;
  display: flex;
  align-items: center;
  gap: .4rem;
  padding: 2rem .6rem .5rem;
  background: linear-gradient(#0000, #000a);
  transition: opacity .25s;
  pointer-events: none;
}
.bar > * { pointer-events: auto; }
.gap { flex: 1; }
/* A picture that is watched is not to be covered; touching it brings it back. */
:host([data-state="live"]:not(:hover, :focus-within, [awake])) .bar { opacity: 0; }
@media (hover: none) { :host([data-state="live"]:not([stalled])) .bar { opacity: 1; } }
:host([data-state="down"]) .bar { background: none; }

button, ::slotted(button) {
  padding: .45rem .9rem;
  border: 1px solid #fff5;
  border-radius: 2rem;
  background: #000b;
  color: #fff;
  font: inherit;
  font-size: .9rem;
  cursor: pointer;
}
button:hover { background: #000d; border-color: #fff; }
.bar button { flex: none; display: grid; place-items: center; width: 2.6rem; height: 2.6rem; padding: 0; }
svg { width: 1.35rem; fill: none; stroke: currentcolor; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; }

/* What is said stays clear of the buttons. */
:host([data-state="down"]:not([controls="false" i])) .message { padding-bottom: 3.6rem; }
@container (max-width: 30rem) {
  .title { font-size: .95rem; }
  .detail { font-size: .75rem; }
  .hint, .retry { font-size: .8rem; }
  .message { gap: .2rem; padding: 2rem .5rem .4rem; }
  .message button { padding: .2rem .8rem; }
}
@container (max-width: 22rem) {
  .detail { display: none; }
  .badge { inset: .35rem .35rem auto auto; font-size: .7rem; }
  .title { font-size: .8rem; line-height: 1.3; }
  .hint, .retry { font-size: .72rem; line-height: 1.3; }
  .bar { padding: 1rem .3rem .3rem; }
  .bar button { width: 2.1rem; height: 2.1rem; }
}
@container (max-width: 15rem) {
  .hint, .retry, .message button { display: none; }
  .title { font-size: .7rem; }
  .spinner { width: 1.4rem; height: 1.4rem; }
}
`;

/** Gives a shadow root its look, without a style that a page's content policy
 *  would have to allow.
 * @param {ShadowRoot} root */
export function dress(root) {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(CSS);
  root.adoptedStyleSheets = [sheet];
}
