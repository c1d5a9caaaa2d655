#!/usr/bin/python3
"""A WHEP viewer made of GStreamer's webrtcbin: viewer.py URL [udp|tcp]

Plays until it has decoded two seconds of pictures, prints what it saw as JSON,
ends the session by DELETE, and exits with 0; with 1 and the reason if they do
not come. With `udp` or `tcp` it keeps only those candidates of the answer.
"""

import json
import sys
import time
import urllib.parse
import urllib.request

import gi

for name in ("Gst", "GstSdp", "GstWebRTC"):
    gi.require_version(name, "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

PICTURES = 50
LIMIT_SECONDS = 20
H264 = "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=96,packetization-mode=(string)1"


class Viewer:
    def __init__(self, url, only):
        self.url, self.only = url, only
        self.session = None
        self.decoded = 0
        self.first_ms = None
        self.size = None
        self.fault = None
        self.asked = time.monotonic()
        self.loop = GLib.MainLoop()
        self.pipeline = Gst.Pipeline.new()
        self.webrtc = Gst.ElementFactory.make("webrtcbin")
        self.webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.pipeline.add(self.webrtc)
        self.webrtc.connect("pad-added", self.on_pad)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", lambda _, message: self.fail(message.parse_error()[0].message))
        direction = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
        transceiver = self.webrtc.emit("add-transceiver", direction, Gst.Caps.from_string(H264))
        transceiver.set_property("do-nack", True)

    def fail(self, why):
        self.fault = self.fault or why
        self.loop.quit()

    def play(self):
        GLib.timeout_add_seconds(LIMIT_SECONDS, lambda: self.fail(f"{self.decoded} pictures in {LIMIT_SECONDS} s"))
        self.pipeline.set_state(Gst.State.PLAYING)
        self.webrtc.emit("create-offer", None, Gst.Promise.new_with_change_func(self.on_offer))
        self.loop.run()
        # Before the pipeline's end, which closes DTLS and so the session, too.
        if self.session:
            urllib.request.urlopen(urllib.request.Request(self.session, method="DELETE"), timeout=5)
        self.pipeline.set_state(Gst.State.NULL)

    def on_offer(self, promise):
        reply = promise.get_reply()
        offer = reply.get_value("offer")  # lives as long as the reply
        self.webrtc.emit("set-local-description", offer, Gst.Promise.new())
        # Not from GStreamer's own thread, which has the candidates to gather.
        GLib.idle_add(self.post, offer.sdp.as_text())

    def post(self, offer):
        request = urllib.request.Request(self.url, offer.encode(), {"Content-Type": "application/sdp"})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                self.session = urllib.parse.urljoin(self.url, response.headers["Location"])
                answer = response.read().decode()
        except OSError as error:
            return self.fail(f"{error}: {getattr(error, 'read', bytes)()}")
        lines = [line for line in answer.splitlines() if self.is_kept(line)]
        _, message = GstSdp.SDPMessage.new_from_text("\r\n".join(lines) + "\r\n")
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        self.webrtc.emit("set-remote-description", answer, Gst.Promise.new())
        return False

    def is_kept(self, line):
        return not line.startswith("a=candidate:") or self.only in (None, line.split()[2].lower())

    def on_pad(self, _, pad):
        if pad.direction != Gst.PadDirection.SRC:
            return
        decoder = Gst.parse_bin_from_description(
            "rtph264depay ! h264parse ! avdec_h264 max-threads=1 ! fakesink name=screen signal-handoffs=true sync=false", True
        )
        decoder.get_by_name("screen").connect("handoff", self.on_picture)
        self.pipeline.add(decoder)
        decoder.sync_state_with_parent()
        pad.link(decoder.get_static_pad("sink"))

    def on_picture(self, _, __, pad):
        caps = pad.get_current_caps().get_structure(0)
        self.size = [caps.get_value("width"), caps.get_value("height")]
        self.first_ms = self.first_ms or round((time.monotonic() - self.asked) * 1000)
        self.decoded += 1
        if self.decoded == PICTURES:
            GLib.idle_add(self.loop.quit)


Gst.init(None)
viewer = Viewer(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
viewer.play()
seen = {"decoded": viewer.decoded, "size": viewer.size, "first_picture_ms": viewer.first_ms}
print(json.dumps({"viewer": Gst.version_string(), "only": viewer.only, **seen}))
if viewer.fault or viewer.decoded < PICTURES:
    sys.exit(f"whep_gstreamer: {viewer.fault}")
