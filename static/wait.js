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

let lastTurn = 0;

/** Lets players of one page begin one after the other: forty at once would all
 *  be late.
 * @param {AbortSignal} signal */
export async function turn(signal) {
  const now = performance.now();
  const mine = Math.max(now, lastTurn + BETWEEN_STARTS_MS);
  lastTurn = mine;
  if (mine > now) await sleep(mine - now, signal);
}

const BETWEEN_STARTS_MS = 60;
