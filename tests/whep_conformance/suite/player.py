"""A real player (aiortc), and what it sees of a server.

It reaches into aiortc where that has no public way: to see each packet as it
comes, and to fall silent. So the version is pinned in ../requirements.txt.
"""

import asyncio
import time
from dataclasses import dataclass, field
from urllib.parse import urljoin

import aioice.ice
from aiortc import (RTCConfiguration, RTCPeerConnection, RTCSessionDescription)
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtcpPacket, RtcpSdesPacket, RtcpSrPacket, RtpPacket

from .sdp import Description, Offer
from .target import FRAGMENT, SDP, Target

# How long pictures are watched after the first one.
WATCH = 2.0
# How soon after DELETE the last packet must have come.
STOPS = 1.0
# RFC 3550, 6.2: a report every 5 s, the first after half that; doubled.
REPORT = 10.0
# RFC 7675, 5.1: consent expires after 30 s.
CONSENT = 30.0

_host_addresses = aioice.ice.get_host_addresses


def _with_loopback(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    """aioice leaves loopback out, which may be all that a test machine has."""
    return _host_addresses(use_ipv4, use_ipv6) + (["127.0.0.1"] if use_ipv4 else [])


aioice.ice.get_host_addresses = _with_loopback


@dataclass
class Seen:
    """What a player saw. Times are seconds from the answer on; `None` is never."""

    # Why there was no session at all.
    refused: str | None = None
    connected: float | None = None
    first_packet: float | None = None
    first_picture: float | None = None
    has_video: bool = False
    pictures: int = 0
    # RTP payload types that came, and those of the answer.
    types: set[int] = field(default_factory=set)
    negotiated: set[int] = field(default_factory=set)
    report: float | None = None
    # How far the first report's RTP time is from that of the packets, seconds.
    report_off: float | None = None
    cname: bool = False
    # From the answer to DELETE to the last packet; `None` if none came any more.
    last_after_delete: float | None = None
    deleted: bool = False
    goodbye: bool = False
    # The same with candidates by PATCH alone.
    trickle_refused: str | None = None
    trickle_first_packet: float | None = None
    # From the player's goodbye until the session was gone.
    left: float | None = None
    left_tried: bool = False
    # From the player's silence until the last packet, and the session's end.
    silence_last: float | None = None
    silence_tried: bool = False
    silence_gone: bool = False
    silence_watched: float = 0.0


class Player:
    """One viewer."""

    def __init__(self, target: Target):
        self.target = target
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.url = ""
        self.etag: str | None = None
        self.answered = 0.0
        self.answer = ""
        self.packets: list[tuple[float, RtpPacket]] = []
        self.reports: list[tuple[float, RtcpSrPacket]] = []
        self.cname = False
        self.pictures: list[float] = []
        self.connected: float | None = None
        self._tasks: list[asyncio.Task] = []

    async def play(self, trickle: bool = False) -> str | None:
        """Offers and takes the answer; says why if there is none."""
        pc = self.pc
        pc.addTransceiver("audio", direction="recvonly")
        pc.addTransceiver("video", direction="recvonly")
        pc.on("track", self._on_track)
        pc.on("connectionstatechange", self._on_state)
        await pc.setLocalDescription(await pc.createOffer())
        offer = pc.localDescription.sdp
        body = "".join(line for line in offer.splitlines(True)
                       if not (trickle and line.startswith(("a=candidate", "a=end-of-candidates"))))
        response = await asyncio.to_thread(self.target.client.post, self.target.url, {"Content-Type": SDP}, body)
        if response.status // 100 != 2 or not response.get("location"):
            return str(response)
        self.url, self.etag = urljoin(response.url, response.get("location")), response.get("etag")
        self.answer, self.answered = response.text, time.monotonic()
        if trickle and (why := await self._trickle(offer)):
            return why
        self._listen()
        await pc.setRemoteDescription(RTCSessionDescription(self.answer, "answer"))
        return None

    async def _trickle(self, offer: str) -> str | None:
        described = Description(offer)
        first = described.media[0]
        lines = [f"candidate:{value}" for value in first.all("candidate")] + ["end-of-candidates"]
        ours = Offer(*(part.kind for part in described.media))
        fragment = ours.fragment(*lines, ufrag=first.get("ice-ufrag"), password=first.get("ice-pwd"))
        headers = {"Content-Type": FRAGMENT, "If-Match": self.etag or "*"}
        response = await asyncio.to_thread(self.target.client.send, "PATCH", self.url, headers, fragment)
        return None if response.status // 100 == 2 else str(response)

    @property
    def transport(self):
        """The DTLS transport: one, since all is bundled."""
        return self.pc.getTransceivers()[0].receiver.transport

    def since(self) -> float:
        return time.monotonic() - self.answered

    def _listen(self) -> None:
        for transport in {t.receiver.transport for t in self.pc.getTransceivers()}:
            transport._handle_rtp_data = self._tap_rtp(transport._handle_rtp_data)
            transport._handle_rtcp_data = self._tap_rtcp(transport._handle_rtcp_data)

    def _tap_rtp(self, onward):
        async def tap(data: bytes, arrival_time_ms: int) -> None:
            self.packets.append((self.since(), RtpPacket.parse(data)))
            await onward(data, arrival_time_ms=arrival_time_ms)

        return tap

    def _tap_rtcp(self, onward):
        async def tap(data: bytes) -> None:
            for packet in RtcpPacket.parse(data):
                if isinstance(packet, RtcpSrPacket):
                    self.reports.append((self.since(), packet))
                if isinstance(packet, RtcpSdesPacket):
                    self.cname |= any(name == 1 and text for chunk in packet.chunks for name, text in chunk.items)
            await onward(data)

        return tap

    def _on_state(self) -> None:
        if self.pc.connectionState == "connected" and self.connected is None:
            self.connected = self.since()

    def _on_track(self, track) -> None:
        async def watch() -> None:
            try:
                while True:
                    await track.recv()
                    if track.kind == "video":
                        self.pictures.append(self.since())
            except MediaStreamError:
                pass

        self._tasks.append(asyncio.ensure_future(watch()))

    async def until(self, condition, seconds: float) -> bool:
        """Whether it came true in time."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.02)
        return True

    async def is_gone(self) -> bool:
        """Whether the server no longer has the session."""
        headers = {"Content-Type": FRAGMENT, "If-Match": self.etag or "*"}
        # Nothing new in it: it changes no session that is still there.
        response = await asyncio.to_thread(self.target.client.send, "PATCH", self.url, headers, "a=end-of-candidates\r\n")
        return response.status in (404, 410)

    async def delete(self) -> bool:
        response = await asyncio.to_thread(self.target.client.send, "DELETE", self.url)
        return response.status // 100 == 2

    def fall_silent(self) -> "Silence":
        """Sends nothing any more, not even answers to checks."""
        return Silence(self.transport.transport._connection)

    async def close(self) -> None:
        await self.pc.close()
        for task in self._tasks:
            task.cancel()


class Silence:
    """A connection on which nothing is said, and what still comes in."""

    def __init__(self, connection):
        self.begun = time.monotonic()
        self.last: float | None = None
        # Else aioice hangs up by itself.
        if connection._query_consent_task:
            connection._query_consent_task.cancel()
        for protocol in connection._protocols:
            protocol.transport = Mute(protocol.transport)
            protocol.datagram_received = self._received

    def _received(self, data: bytes, _from) -> None:
        # RFC 7983, 7: RTP and RTCP.
        if 127 < data[0] < 192:
            self.last = time.monotonic() - self.begun


class Mute:
    """A transport that sends nothing."""

    def __init__(self, inner):
        self._inner = inner

    def sendto(self, *_) -> None:
        pass

    def __getattr__(self, name):
        return getattr(self._inner, name)


async def _watch(target: Target, seen: Seen) -> None:
    """Plays, watches, and leaves by DELETE."""
    player = Player(target)
    seen.refused = await player.play()
    if seen.refused:
        return await player.close()
    answer = Description(player.answer)
    media = [part for part in answer.accepted if part.kind in ("audio", "video")]
    seen.negotiated = {int(number) for part in media for number in part.formats}
    rates = {int(n): int(e.split("/")[1]) for part in media for n, e in part.encodings().items() if "/" in e}
    seen.has_video = any(part.kind == "video" for part in media)
    await player.until(lambda: player.packets, target.patience)
    if player.packets and seen.has_video:
        await player.until(lambda: player.pictures, target.patience)
        await asyncio.sleep(WATCH)
    if player.packets:
        await player.until(lambda: player.reports, min(REPORT, target.patience))
        await asyncio.sleep(0.1)
    seen.connected = player.connected
    seen.first_packet = next((at for at, _ in player.packets), None)
    seen.first_picture = next(iter(player.pictures), None)
    seen.pictures = len(player.pictures)
    seen.types = {packet.payload_type for _, packet in player.packets}
    seen.cname = player.cname
    if player.reports:
        seen.report, report = player.reports[0]
        near = [p for at, p in player.packets if p.ssrc == report.ssrc and at <= seen.report + 0.2]
        rate = rates.get(near[-1].payload_type) if near else None
        if rate:
            steps = (report.sender_info.rtp_timestamp - near[-1].timestamp + (1 << 31)) % (1 << 32) - (1 << 31)
            seen.report_off = steps / rate
    if player.packets:
        seen.deleted = await player.delete()
        at, before = player.since(), len(player.packets)
        await player.until(lambda: player.transport.state == "closed", STOPS)
        await asyncio.sleep(STOPS)
        seen.goodbye = player.transport.state == "closed"
        after = [time_ - at for time_, _ in player.packets[before:]]
        seen.last_after_delete = max(after) if after else None
    else:
        await player.delete()
    await player.close()


async def _trickle(target: Target, seen: Seen) -> None:
    player = Player(target)
    seen.trickle_refused = await player.play(trickle=True)
    if not seen.trickle_refused:
        await player.until(lambda: player.packets, min(target.patience, 10.0))
        seen.trickle_first_packet = next((at for at, _ in player.packets), None)
        await player.delete()
    await player.close()


async def _leave(target: Target, seen: Seen) -> None:
    """Says goodbye by DTLS alone, as a browser does whose page is closed."""
    player = Player(target)
    if await player.play() is None and await player.until(lambda: player.packets, target.patience):
        seen.left_tried, begun = True, time.monotonic()
        await player.close()
        while time.monotonic() - begun < target.patience:
            if await player.is_gone():
                seen.left = time.monotonic() - begun
                return
            await asyncio.sleep(0.1)
        await player.delete()
    await player.close()


async def _vanish(target: Target, seen: Seen) -> None:
    """Falls silent, as a laptop does whose lid is shut."""
    player = Player(target)
    if await player.play() is None and await player.until(lambda: player.packets, target.patience):
        silence = player.fall_silent()
        seen.silence_tried = True
        seen.silence_watched = min(CONSENT + 5.0, target.patience + 5.0)
        while time.monotonic() - silence.begun < seen.silence_watched and not seen.silence_gone:
            await asyncio.sleep(0.25)
            quiet = time.monotonic() - silence.begun - (silence.last or 0.0)
            seen.silence_gone = quiet > 2.0 and await player.is_gone()
        seen.silence_last = silence.last
        if not seen.silence_gone:
            await player.delete()
    await player.close()


def look(target: Target) -> Seen:
    """Runs all players at once; takes as long as the slowest."""
    seen = Seen()

    async def all_of_them() -> None:
        await asyncio.gather(*(each(target, seen) for each in (_watch, _trickle, _leave, _vanish)))

    asyncio.run(all_of_them())
    return seen
