// HLS, where the browser plays it by itself (Safari, iOS, recent Chromium).

import { Fault, request } from "./fault.js";

const TYPE = "application/vnd.apple.mpegurl";

/** How long the first picture may take: some browsers buffer three segments. */
const FIRST_PICTURE_MS = 15000;

export const canPlayHls = (video) => video.canPlayType(TYPE) !== "";

/** Plays `playlist` into `video`; resolves with the first picture. */
export async function playHls(playlist, video, signal, onEnd) {
  if (!canPlayHls(video)) {
    throw new Fault({
      code: "viewer.no_hls",
      title: "This browser does not play HLS by itself.",
      hint: "Use Safari, a current Chrome or Edge, or open the playlist in VLC.",
    });
  }
  // Asked first because a media element cannot say why a playlist is refused.
  await request(playlist, { signal });
  const stop = () => {
    video.removeAttribute("src");
    video.load();
  };
  const broken = () => {
    const detail = video.error?.message ?? "";
    const title = "The browser cannot play this stream over HLS.";
    return new Fault({ code: "codec.video_unplayable", title, detail });
  };
  try {
    await new Promise((resolve, reject) => {
      const slow = () => reject(new Fault({ title: "No picture came over HLS.", retryAfter: 2 }));
      const timer = setTimeout(slow, FIRST_PICTURE_MS);
      const settle = (how) => () => (clearTimeout(timer), how());
      video.addEventListener("loadeddata", settle(resolve), { once: true, signal });
      video.addEventListener("error", settle(() => reject(broken())), { once: true, signal });
      signal.addEventListener("abort", settle(() => reject(signal.reason)), { once: true });
      video.src = playlist;
    });
  } catch (error) {
    stop();
    throw error;
  }
  signal.addEventListener("abort", stop, { once: true });
  video.addEventListener("error", () => onEnd(broken()), { once: true, signal });
  return { notice: "" };
}

/** Goes back to live after a pause: seconds of a camera's past are no use. */
export function catchUp(video) {
  const { seekable } = video;
  if (!video.src || seekable.length === 0) return;
  const live = seekable.end(seekable.length - 1);
  if (live - video.currentTime > 10) video.currentTime = live - 2;
}
