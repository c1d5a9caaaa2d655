"""Media: what a real player sees after the answer."""

from .checks import EXTRA, MUST, SHOULD, Skipped, assertion, expect, need
from .target import Target

ENDING = "WHEP, Playback Session Termination"
# Seconds. Generous: a server in another country, a stream that starts.
CONNECT, FIRST_PACKET, FIRST_PICTURE, LEAVE = 5.0, 5.0, 5.0, 15.0


def seen(target: Target, packets: bool = True):
    """What the player saw; skips where no player looked."""
    if target.seen is None:
        raise Skipped("no player: --no-media, or aiortc is not installed")
    found = target.seen()
    need(not found.refused, f"no session: {found.refused}")
    if packets:
        need(found.first_packet is not None, "no packet came")
    return found


def text(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.2f} s"


@assertion("media.session", MUST, "WHEP, Server Accepts Client Offer", "a real player's offer (aiortc) is answered 201")
def _(target: Target):
    if target.seen is None:
        raise Skipped("no player: --no-media, or aiortc is not installed")
    expect(not target.seen().refused, "201", target.seen().refused)


@assertion("media.connects", MUST, "WHEP, Protocol Operation Steps", "ICE and DTLS are established within 5 s")
def _(target: Target):
    at = seen(target, packets=False).connected
    expect(at is not None and at <= CONNECT, f"{CONNECT} s", text(at))


@assertion("media.first-packet", MUST, "WHEP, Protocol Operation Steps", "media flows: a packet that decrypts, within 5 s")
def _(target: Target):
    found = seen(target, packets=False)
    need(found.connected is not None, "not connected")
    at = found.first_packet
    expect(at is not None and at <= FIRST_PACKET, f"{FIRST_PACKET} s", text(at))


@assertion("media.first-picture", EXTRA, "WHEP, Overview", "a picture that decodes comes within 5 s of the answer")
def _(target: Target):
    found = seen(target)
    need(found.has_video, "no video")
    at = found.first_picture
    expect(at is not None and at <= FIRST_PICTURE, f"{FIRST_PICTURE} s", text(at))


@assertion("media.advances", EXTRA, "WHEP, Overview", "more pictures follow: five in two seconds")
def _(target: Target):
    found = seen(target)
    need(found.has_video and found.first_picture is not None, "no picture")
    expect(found.pictures > 5, "more than 5", found.pictures)


@assertion("media.payload-types", MUST, "RFC 3264, 6.1", "packets have payload types of the answer, no others")
def _(target: Target):
    found = seen(target)
    expect(found.types <= found.negotiated, found.negotiated, found.types)


@assertion("media.sender-report", MUST, "RFC 3550, 6.2", "a sender report comes within 10 s")
def _(target: Target):
    expect(seen(target).report is not None, "a sender report", "none")


@assertion("media.report-time", MUST, "RFC 3550, 6.4.1", "its RTP time is that of the packets around it")
def _(target: Target):
    found = seen(target)
    need(found.report_off is not None, "no sender report of a packet's SSRC")
    expect(abs(found.report_off) < 10, "less than 10 s between", f"{found.report_off:.1f} s")


@assertion("media.cname", MUST, "RFC 8834, 4.9", "reports carry a CNAME")
def _(target: Target):
    found = seen(target)
    need(found.report is not None, "no sender report")
    expect(found.cname, "SDES CNAME", "none")


@assertion("media.stops", MUST, "RFC 7675, 5.2", "after DELETE no packet comes any more")
def _(target: Target):
    found = seen(target)
    need(found.deleted, "DELETE failed")
    late = found.last_after_delete
    expect(late is None or late < 0.5, "none later than 0.5 s after", text(late))


@assertion("media.goodbye", SHOULD, ENDING, "DELETE ends the DTLS session: close_notify comes")
def _(target: Target):
    found = seen(target)
    need(found.deleted and (found.last_after_delete or 0) < 0.5, "it goes on")
    expect(found.goodbye, "close_notify within a second", "none")


@assertion("media.trickle", MUST, "WHEP, Trickle ICE", "media flows too when all candidates come by PATCH")
def _(target: Target):
    found = seen(target)
    need(not found.trickle_refused, f"no trickle ICE: {found.trickle_refused}")
    at = found.trickle_first_packet
    expect(at is not None, "a packet", text(at))


@assertion("media.leave", MUST, "WHEP, Session Management", "a player that ends its DTLS session has no session 15 s later")
def _(target: Target):
    found = seen(target)
    need(found.left_tried, "not connected")
    expect(found.left is not None and found.left <= LEAVE, "404 to a PATCH", text(found.left))


@assertion("media.consent", MUST, "RFC 7675, 5.1", "a player that falls silent is sent nothing after 30 s")
def _(target: Target):
    found = seen(target)
    need(found.silence_tried, "not connected")
    last, watched = found.silence_last or 0.0, found.silence_watched
    expect(last < watched - 2, f"no packet in the last 2 of {watched:.0f} s", f"the last after {text(last)}")


@assertion("media.consent-session", EXTRA, "WHEP, Session Management", "and its session ends")
def _(target: Target):
    found = seen(target)
    need(found.silence_tried and (found.silence_last or 0.0) < found.silence_watched - 2, "it goes on")
    expect(found.silence_gone, "404 to a PATCH", "it is still there")
