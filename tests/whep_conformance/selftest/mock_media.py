"""The mock with pictures: aiortc on the sending side too, and faults in what it
sends. The HTTP side is mock.py's."""

import asyncio
import fractions
import threading

import aioice.ice
import av
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtp import is_rtcp

from selftest.mock import Handler, Mock
from suite import player  # noqa: F401, it adds loopback to the candidates
from suite.sdp import Description

FPS = 12
# A server that gives up on a silent player soon: the test is not to take 30 s.
aioice.ice.CONSENT_INTERVAL = 0.4


class Picture(MediaStreamTrack):
    """Grey pictures, each a little lighter than the one before."""

    kind = "video"

    def __init__(self, fault: str):
        super().__init__()
        self.fault, self.count = fault, 0

    async def recv(self) -> av.VideoFrame:
        never = self.fault == "media.first-packet" or (self.fault == "media.advances" and self.count >= 3)
        await asyncio.sleep(3600 if never else 1 / FPS)
        if self.readyState != "live":
            raise MediaStreamError
        frame = av.VideoFrame(160, 120, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([self.count * 3 % 256]) * plane.buffer_size)
        frame.pts, frame.time_base = self.count * 90_000 // FPS, fractions.Fraction(1, 90_000)
        self.count += 1
        return frame


class MediaMock(Mock):
    """The server, with an event loop for its players."""

    def __init__(self, fault: str = ""):
        super().__init__(fault, MediaHandler)
        self.loop = asyncio.new_event_loop()
        self.peers: dict[str, RTCPeerConnection] = {}
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def on_loop(self, coroutine):
        """Its result; called from the threads of HTTP."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def create(self, offer: Description):
        session, _ = super().create(offer)
        return session, self.on_loop(self.begin(session.id, offer))

    async def begin(self, id_: str, offer: Description) -> str:
        peer = self.peers[id_] = RTCPeerConnection(RTCConfiguration(iceServers=[]))

        await peer.setRemoteDescription(RTCSessionDescription(offer.text, "offer"))
        sender = next(t for t in peer.getTransceivers() if t.kind == "video")
        sender.sender.replaceTrack(Picture(self.fault))
        sender.direction = "sendonly"
        answer = await peer.createAnswer()
        transport = sender.sender.transport
        transport._send_rtp = tampering(self.fault, transport._send_rtp)

        def on_state() -> None:
            # A goodbye ends DTLS while ICE lives on; silence ends ICE first.
            vanished = transport.transport._connection._closing
            ignored = self.bad("media.consent-session" if vanished else "media.leave")
            if transport.state == "closed" and not ignored:
                self.forget(id_)

        transport.on("statechange", on_state)
        deaf = self.bad("media.trickle") and not offer.candidates
        if not deaf:
            # In the background: it waits for candidates, which come by PATCH.
            await peer.setLocalDescription(answer)
            if self.bad("media.consent"):
                asyncio.ensure_future(never_expire(transport.transport._connection))
        text = peer.localDescription.sdp if not deaf else answer.sdp
        if self.bad("media.connects"):
            text = text.replace("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 00:")
            text = "".join(cut(line) for line in text.splitlines(True))
        return text

    def forget(self, id_: str) -> None:
        if id_ in self.sessions:
            super().end(self.sessions[id_])

    def end(self, session) -> None:
        super().end(session)
        peer = self.peers.get(session.id)
        if peer and not self.bad("media.stops"):
            self.on_loop(self.hang_up(peer))

    async def hang_up(self, peer: RTCPeerConnection) -> None:
        if self.bad("media.goodbye"):
            for transceiver in peer.getTransceivers():
                await transceiver.sender.stop()
            return
        await peer.close()


def cut(line: str) -> str:
    """A fingerprint with its last pair gone, to make up for one too many."""
    return line.rstrip()[:-3] + "\r\n" if line.startswith("a=fingerprint:sha-256 00:") else line


async def never_expire(connection) -> None:
    """Sends on whether or not anybody is there."""
    while True:
        await asyncio.sleep(0.1)
        if connection._query_consent_task:
            connection._query_consent_task.cancel()


def tampering(fault: str, onward):
    """What leaves, with the fault in it."""

    async def send(data: bytes) -> None:
        if is_rtcp(data):
            report = data[1] == 200
            if fault == "media.sender-report" and report:
                return
            if fault == "media.report-time" and report:
                data = data[:16] + bytes([data[16] ^ 0x40]) + data[17:]
            if fault == "media.cname" and report:
                data = data[:4 * (1 + int.from_bytes(data[2:4], "big"))]
        else:
            if fault == "media.first-picture":
                data = data[:12] + bytes(len(data) - 12)
            if fault == "media.payload-types":
                # Of another source: SRTP takes no sequence number twice.
                await onward(data[:1] + bytes([data[1] & 0x80 | 127]) + data[2:8] + b"nope" + data[12:])
        await onward(data)

    return send


class MediaHandler(Handler):
    """One connection."""

    server_mock: MediaMock

    def read_offer(self, body: bytes) -> Description:
        offer = super().read_offer(body)
        if self.bad("media.session"):
            self.refuse("offer", 400, "not for you")
        return offer
