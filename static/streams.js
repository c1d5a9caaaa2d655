// What the gateway knows of its streams, asked again and again while somebody
// looks at the page.

import { Fault, request } from "./fault.js";

const EVERY_MS = 3000;
const NAME = /^[a-z0-9-]{1,63}$/;

/** Calls `onStreams(list)` or `onFault(fault)` every 3 s, from now on. */
export async function pollStreams(url, onStreams, onFault) {
  for (;;) {
    if (!document.hidden) {
      try {
        const response = await request(url, { signal: AbortSignal.timeout(10_000) });
        const { streams } = await response.json();
        // A name becomes part of a URL: only what the gateway allows.
        onStreams(streams.filter(({ name }) => NAME.test(name)));
      } catch (error) {
        onFault(error instanceof Fault ? error : new Fault({ title: "The gateway does not answer." }));
      }
    }
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}
