#!/usr/bin/python3
"""Test cameras: GStreamer's RTSP server on the clips of clips.sh.

A clip is parsed once into access units and pushed over and over with
timestamps that run on, so RTP time never resets and a camera costs little.

Prints one JSON object a line: first `{"port", "mounts": {name: {...}}}`, then
`{"mount", "started"}` whenever a mount begins: frame n of the clip, as its
blocks show, leaves the camera at `started + n / fps` (Unix time in seconds),
modulo the clip's length.
"""

import argparse
import json
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

Gst.init(None)
HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / "cache"

# Mount, then for each track: parser and payloader.
H264 = (
    "h264parse ! video/x-h264,stream-format=byte-stream,alignment=au",
    "rtph264pay config-interval=-1 aggregate-mode=zero-latency",
)
H265 = (
    "h265parse ! video/x-h265,stream-format=byte-stream,alignment=au",
    "rtph265pay config-interval=-1 aggregate-mode=zero-latency",
)
JPEG = ("jpegparse", "rtpjpegpay")
AAC = ("aacparse ! audio/mpeg,stream-format=raw", "rtpmp4gpay")
PCMA = ("identity", "rtppcmapay min-ptime=20000000 max-ptime=20000000")
# In place of a payloader, where we cut the packets.
PACKETS = "identity"
VP8 = ("identity", "rtpvp8pay")
VP9 = ("vp9parse ! video/x-vp9,alignment=super-frame", "rtpvp9pay")
AV1 = ("av1parse ! video/x-av1,stream-format=obu-stream,alignment=tu", PACKETS)
PCM = "alawdec ! audioconvert ! audioresample ! audio/x-raw,channels={},rate={}"
OPUS = (PCM.format(2, 48000) + " ! opusenc", "rtpopuspay")
G722 = (PCM.format(1, 16000) + " ! avenc_g722", "rtpg722pay")
L16 = (PCM.format(2, 44100) + ",format=S16BE", "rtpL16pay")
MOUNTS = {
    "h264-pcma": (H264, PCMA),
    "h264-aac": (H264, AAC),
    "gop-1s": (H264, PCMA),
    "small": (H264,),
    "small-pcma": (H264, PCMA),
    "gop-half": (H264,),
    "irregular": (H264,),
    "fps-1": (H264,),
    "fps-60": (H264,),
    "h264-opus": (H264, OPUS),
    "long-gop": (H264, PCMA),
    "gop-30s": (H264,),
    "bframes": (H264, AAC),
    "h265-aac": (H265, AAC),
    "mjpeg": (JPEG,),
    "h264-slow": (H264,),
    "vp8-opus": (VP8, OPUS),
    "vp9-g722": (VP9, G722),
    "av1-l16": (AV1, L16),
}


# Mount, then what makes its sound: a codec that no clip can hold.
SOUNDS = {"latm": "avenc_aac ! aacparse ! rtpmp4apay"}


def leb128(data, at):
    """A number of AV1 in `data`, and where it ends."""
    value = shift = 0
    while True:
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


class Av1Packets:
    """AV1 in RTP, for which this GStreamer has no element: every unit in packets
    of its own."""

    caps = Gst.Caps.from_string("application/x-rtp,media=video,clock-rate=90000,encoding-name=AV1,payload=96")

    def __init__(self):
        self.number = 0

    def of(self, data, pts):
        """The packets of a temporal unit shown at `pts`."""
        units, at = [], 0
        while at < len(data):
            header = data[at]
            size, body = leb128(data, at + 1)
            at = body + size
            if header >> 3 & 15 != 2:  # a temporal delimiter stays behind
                units.append(bytes([header & ~2]) + data[body:at])
        for unit in units:
            for i in range(0, len(unit), 1200):
                ends = i + 1200 >= len(unit)
                flags = (i > 0) << 7 | (not ends) << 6 | 1 << 4
                flags |= (unit is units[0] and i == 0 and unit[0] >> 3 == 1) << 3
                marker = unit is units[-1] and ends
                ticks = pts * 9 // 100_000 & 0xFFFFFFFF
                header = struct.pack("!BBHII", 0x80, marker << 7 | 96, self.number, ticks, 0xA51)
                self.number = self.number + 1 & 0xFFFF
                yield header + bytes([flags]) + unit[i : i + 1200]


class Track:
    """One track of a clip: its units, with times from 0."""

    def __init__(self, caps, units, payloader):
        self.caps = caps
        self.payloader = payloader
        first = min(dts for _, _, dts, _ in units)
        self.units = [(data, pts - first, dts - first, key) for data, pts, dts, key in units]
        # Both tracks loop at their own length, since 10 s of AAC are no whole
        # number of frames.
        gaps = [b[2] - a[2] for a, b in zip(self.units, self.units[1:])]
        self.length = self.units[-1][2] + sorted(gaps)[len(gaps) // 2]


def parse_all(clips):
    """The tracks of a clip; of several, their pictures, one clip after the other."""
    of = lambda clip, tracks: parse(next(CACHE.glob(f"{clip}.m??")), tracks)
    if len(clips) == 1:
        return of(clips[0], MOUNTS[clips[0]])
    first, *others = [of(clip, MOUNTS[clip][:1])[0] for clip in clips]
    for other in others:
        at = first.length
        first.units += [(data, pts + at, dts + at, key) for data, pts, dts, key in other.units]
        first.length += other.length
    return [first]


def parse(path, tracks):
    """The clip's tracks, in the order of `tracks`."""
    branches = " ".join(
        f"d.{'video' if i == 0 else 'audio'}_0 ! queue max-size-time=0 max-size-buffers=0 max-size-bytes=0 "
        f"! {parser} ! appsink name=sink{i} sync=false"
        for i, (parser, _) in enumerate(tracks)
    )
    demuxer = "qtdemux" if path.suffix == ".mov" else "matroskademux"
    pipeline = Gst.parse_launch(f"filesrc location={path} ! {demuxer} name=d {branches}")
    pipeline.set_state(Gst.State.PLAYING)
    parsed = []
    for i, (_, payloader) in enumerate(tracks):
        sink, units, caps = pipeline.get_by_name(f"sink{i}"), [], None
        while (sample := sink.emit("try-pull-sample", 10 * Gst.SECOND)) is not None:
            buffer, caps = sample.get_buffer(), sample.get_caps()
            data = buffer.extract_dup(0, buffer.get_size())
            key = not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT)
            dts = buffer.dts if buffer.dts != Gst.CLOCK_TIME_NONE else buffer.pts
            if "alaw" in caps.to_string():
                # In packets of 20 ms, whatever the demuxer's chunks are.
                for at in range(0, len(data), 160):
                    when = len(units) * 20 * Gst.MSECOND
                    units.append((data[at : at + 160], when, when, True))
            else:
                units.append((data, buffer.pts, dts, key))
        parsed.append(Track(caps, units, payloader))
    pipeline.set_state(Gst.State.NULL)
    # Times in the file are rounded; a camera ticks evenly.
    video = parsed[0]
    video.fps = round(len(video.units) * Gst.SECOND / video.length)
    video.length = len(video.units) * Gst.SECOND // video.fps
    return parsed


def payload_type(i, payloader):
    return "" if payloader == PACKETS else f"pt={8 if 'pcma' in payloader else 96 + i}"


class Factory(GstRtspServer.RTSPMediaFactory):
    """One mount, shared by its clients as a camera's encoder is."""

    def __init__(self, name, tracks, transport, repair):
        super().__init__()
        if repair:
            self.set_profiles(GstRtsp.RTSPProfile.AVPF)
            self.set_retransmission_time(500 * Gst.MSECOND)
            self.set_do_retransmission(True)
        self.name, self.tracks = name, tracks
        self.set_shared(True)
        self.set_latency(0)
        self.set_protocols(
            {
                "tcp": GstRtsp.RTSPLowerTrans.TCP,
                "udp": GstRtsp.RTSPLowerTrans.UDP,
                "any": GstRtsp.RTSPLowerTrans.TCP | GstRtsp.RTSPLowerTrans.UDP,
            }[transport]
        )
        self.connect("media-configure", Factory.configured)

    def do_create_element(self, _url):
        sources = " ".join(
            f"appsrc name=src{i} format=time is-live=true block=false max-bytes=0 "
            f"! {track.payloader} name=pay{i} {payload_type(i, track.payloader)}"
            for i, track in enumerate(self.tracks)
        )
        return Gst.parse_launch(f"( {sources} )")

    def configured(self, media):
        threading.Thread(target=self.run, args=(media,), daemon=True).start()

    def run(self, media):
        """Pushes every track's units at their time until the media is gone."""
        element = media.get_element()
        sources = [element.get_by_name(f"src{i}") for i in range(len(self.tracks))]
        for source, track in zip(sources, self.tracks):
            source.set_property("caps", Av1Packets.caps if track.payloader == PACKETS else track.caps)
        av1 = Av1Packets()
        begun, started = time.monotonic(), time.time()
        say({"mount": self.name, "started": started})
        nth, loops = [0] * len(sources), [0] * len(sources)
        while True:
            due = [t.length * loops[i] + t.units[nth[i]][2] for i, t in enumerate(self.tracks)]
            i = due.index(min(due))
            track = self.tracks[i]
            data, pts, _, key = track.units[nth[i]]
            wait = due[i] / Gst.SECOND - (time.monotonic() - begun)
            if wait > 0:
                time.sleep(wait)
            pts += track.length * loops[i]
            for part in av1.of(data, pts) if track.payloader == PACKETS else [data]:
                buffer = Gst.Buffer.new_wrapped(part)
                buffer.pts, buffer.dts = pts, due[i]
                if not key:
                    buffer.set_flags(Gst.BufferFlags.DELTA_UNIT)
                if sources[i].emit("push-buffer", buffer) != Gst.FlowReturn.OK:
                    return
            nth[i] += 1
            if nth[i] == len(track.units):
                nth[i], loops[i] = 0, loops[i] + 1


def say(thing):
    print(json.dumps(thing), flush=True)


def authenticate(server, factories, method, user, password):
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    if method == "basic":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    server.set_auth(auth)
    for factory in factories:
        permissions = GstRtspServer.RTSPPermissions()
        for right in ["media.factory.access", "media.factory.construct"]:
            permissions.add_permission_for_role("viewer", right, True)
        factory.set_permissions(permissions)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "mounts", nargs="*", default=list(MOUNTS), help="which cameras; `yard=long-gop` is a clip under another name, `yard=gop-1s+small` two by turns"
    )
    options.add_argument("--port", default="0", help="0: a free one")
    options.add_argument("--auth", choices=["basic", "digest"])
    options.add_argument("--user", default="viewer")
    options.add_argument("--password", default="window")
    options.add_argument("--transport", choices=["tcp", "udp", "any"], default="any")
    options.add_argument("--repair", action="store_true", help="RTP/AVPF alone; lost packets are sent again (RTX)")
    options.add_argument("--mtu", help="longest packets of H.264: short ones make a small clip as many as a large one")
    given = options.parse_args()

    subprocess.run([HERE / "clips.sh"], check=True, stdout=sys.stderr)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(given.port)
    told, factories = {}, []
    for mount in given.mounts:
        name, _, clip = mount.partition("=")
        if (clip or name) in SOUNDS:
            factory = GstRtspServer.RTSPMediaFactory()
            source = "audiotestsrc is-live=true ! audioconvert ! audioresample"
            factory.set_launch(f"( {source} ! {SOUNDS[clip or name]} name=pay0 pt=97 )")
            factory.set_shared(True)
            server.get_mount_points().add_factory(f"/{name}", factory)
            factories.append(factory)
            continue
        tracks = parse_all((clip or name).split("+"))
        if given.mtu and "rtph264pay" in tracks[0].payloader:
            tracks[0].payloader += f" mtu={given.mtu}"
        factory = Factory(name, tracks, given.transport, given.repair)
        factories.append(factory)
        server.get_mount_points().add_factory(f"/{name}", factory)
        video = tracks[0].caps.get_structure(0)
        told[name] = {
            "width": video.get_int("width")[1],
            "height": video.get_int("height")[1],
            "frames": len(tracks[0].units),
            "fps": tracks[0].fps,
        }
    if given.auth:
        authenticate(server, factories, given.auth, given.user, given.password)
    if server.attach(None) == 0:
        sys.exit("cannot listen")
    say({"port": server.get_bound_port(), "mounts": told})
    # Sessions of clients that vanished must not keep media alive.
    GLib.timeout_add_seconds(2, lambda: server.get_session_pool().cleanup() or True)
    GLib.MainLoop().run()


main()
