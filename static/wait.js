// Waiting, and being told to stop.

/** A controller that stops with `signal`, or before it.
 * @param {AbortSignal} signal */
export function child(signal) {
  // `AbortSignal.any` is too young for phones in use.
  const controller = new AbortController();
  const stop = () => controller.abort(signal.reason);
  if (signal.aborted) stop();
  else signal.addEventListener("abort", stop, { once: true, signal: controller.signal });
  return controller;
}

/** Milliseconds, or less if `signal` says so; then it throws.
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>} */
export function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const stop = () => (clearTimeout(timer), reject(signal.reason));
    const timer = setTimeout(() => (signal.removeEventListener("abort", stop), resolve()), ms);
    signal.addEventListener("abort", stop, { once: true });
  });
}

/**
 * Resolves with the first of `events` of `target`; rejects with `late()` after
 * `ms`, or when `signal` stops it.
 * @param {EventTarget} target
 * @param {string[]} events
 * @param {number} ms
 * @param {() => Error} late
 * @param {AbortSignal} signal
 * @returns {Promise<string>} the event's type
 */
export function once(target, events, ms, late, signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const inner = child(signal);
    const settle = (/** @type {() => void} */ how) => {
      clearTimeout(timer);
      how();
      inner.abort(new DOMException("settled", "AbortError"));
    };
    const timer = setTimeout(() => settle(() => reject(late())), ms);
    inner.signal.addEventListener("abort", () => settle(() => reject(signal.reason)), { once: true });
    for (const event of events) {
      target.addEventListener(event, ({ type }) => settle(() => resolve(type)), { signal: inner.signal });
    }
  });
}

/** A promise to be settled from outside.
 * @template T */
export class Deferred {
  constructor() {
    /** @type {(value: T) => void} */
    this.resolve = () => {};
    /** @type {Promise<T>} */
    this.promise = new Promise((resolve) => (this.resolve = resolve));
  }
}

/** So many players of a page begin at once: forty would all be late… */
const AT_ONCE = 6;
/** …and each keeps the next one waiting for so long at the most. */
const TURN_MS = 400;

let beginning = 0;
/** @type {(() => void)[]} */
const queue = [];

/** Waits for this player's turn to begin. Call what it resolves with once the
 *  picture is there, or known not to come.
 * @param {AbortSignal} signal
 * @returns {Promise<() => void>} */
export async function turn(signal) {
  if (beginning >= AT_ONCE) await new Promise((resolve) => queue.push(() => resolve(undefined)));
  beginning += 1;
  let done = () => {
    done = () => {};
    clearTimeout(timer);
    beginning -= 1;
    queue.shift()?.();
  };
  const timer = setTimeout(() => done(), TURN_MS);
  // Whoever left in the meantime lets the next one go.
  if (signal.aborted) done();
  signal.throwIfAborted();
  return () => done();
}
