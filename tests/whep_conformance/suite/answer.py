"""The SDP answer: does it fit the offer, and can a player use it?"""

import ipaddress
import re

from .checks import EXTRA, MUST, SHOULD, assertion, expect, need
from .sdp import Description, Offer, Part
from .target import Target

BUNDLE = "WHEP, SDP Bundle"


def answered(target: Target, *kinds: str) -> tuple[Description, Description]:
    """An offer of these kinds and its answer."""
    session = target.open(Offer(*kinds)) if kinds else target.first
    return Description(str(session.offer)), session.answer


def each(answer: Description, what: str, fits) -> None:
    """Fails where `fits` does not hold for an accepted section."""
    need(answer.accepted, "no accepted section")
    for at, part in enumerate(answer.accepted):
        expect(fits(part), what, f"section {at} ({part.kind}): {part.lines}")


@assertion("answer.form", MUST, "RFC 8866, 5", "the answer begins with v=0, o=, s=, then t= before any m=")
def _(target: Target):
    lines = target.first.answer.text.replace("\r\n", "\n").split("\n")
    kinds = [line[:2] for line in lines if line]
    fine = kinds[:3] == ["v=", "o=", "s="] and lines[0] == "v=0" and "t=" in kinds
    expect(fine and kinds.index("t=") < kinds.index("m="), "v=0 o= s= … t= … m=", lines[:6])


@assertion("answer.line-ends", MUST, "RFC 8866, 5", "every line ends in CRLF")
def _(target: Target):
    text = target.first.answer.text
    expect(text.endswith("\r\n") and "\n" not in text.replace("\r\n", ""), "CRLF", repr(text[:60]))


@assertion("answer.sections", MUST, "RFC 3264, 6", "the answer has the offer's media sections, in the offer's order")
def _(target: Target):
    for kinds in ((), ("video", "audio"), ("video",)):
        offer, answer = answered(target, *kinds)
        wanted, got = [p.kind for p in offer.media], [p.kind for p in answer.media]
        expect(wanted == got, wanted, got)


@assertion("answer.data-channel", MUST, "RFC 3264, 6", "an offer with a data channel gets an answer with that section, taken or refused")
def _(target: Target):
    _, answer = answered(target, "video", "audio", "application")
    expect([p.kind for p in answer.media] == ["video", "audio", "application"], "video, audio, application",
           [p.kind for p in answer.media])


@assertion("answer.media", MUST, "WHEP, Single MediaStream", "at least one section is accepted")
def _(target: Target):
    accepted = [p for p in target.first.answer.media if not p.rejected and "inactive" not in p.flags]
    expect(accepted, "an accepted section", target.first.answer.text)


@assertion("answer.protocol", MUST, "RFC 3264, 6", "each section has the offer's transport protocol")
def _(target: Target):
    offer, answer = answered(target)
    for ours, theirs in zip(offer.media, answer.media):
        expect(ours.protocol == theirs.protocol, ours.protocol, theirs.protocol)


@assertion("answer.mid", MUST, "RFC 9143, 7.3", "each section has the offer's mid")
def _(target: Target):
    offer, answer = answered(target)
    for ours, theirs in zip(offer.media, answer.media):
        expect(theirs.rejected or ours.get("mid") == theirs.get("mid"), ours.get("mid"), theirs.get("mid"))


@assertion("answer.bundle", MUST, BUNDLE, "the BUNDLE group has every accepted section and no other")
def _(target: Target):
    answer = target.first.answer
    mids = [part.get("mid") for part in answer.accepted]
    expect(sorted(answer.bundle) == sorted(map(str, mids)), f"BUNDLE {mids}", answer.session.all("group"))


@assertion("answer.rtcp-mux", MUST, BUNDLE, "every accepted section multiplexes RTP and RTCP")
def _(target: Target):
    each(target.first.answer, "a=rtcp-mux", lambda part: "rtcp-mux" in part.flags)


@assertion("answer.rtcp-mux-only", MUST, BUNDLE, "every bundled section says rtcp-mux-only")
def _(target: Target):
    each(target.first.answer, "a=rtcp-mux-only", lambda part: "rtcp-mux-only" in part.flags)


@assertion("answer.msid", MUST, "WHEP, Single MediaStream", "every section has an msid, of one and the same stream")
def _(target: Target):
    answer = target.first.answer
    each(answer, "a=msid", lambda part: part.get("msid"))
    streams = {(part.get("msid") or "").split(" ")[0] for part in answer.accepted}
    expect(len(streams) == 1, "one stream", streams)


@assertion("answer.direction", MUST, "WHEP, Media Direction Attributes", "every accepted section is sendonly")
def _(target: Target):
    directions = {"sendonly", "recvonly", "sendrecv", "inactive"}
    each(target.first.answer, "a=sendonly", lambda part: part.flags & directions == {"sendonly"})


@assertion("answer.setup", MUST, "RFC 8842, 5.3", "the DTLS role is decided: active or passive")
def _(target: Target):
    answer = target.first.answer
    each(answer, "a=setup:active or passive", lambda part: answer.of(part, "setup") in ("active", "passive"))


@assertion("answer.setup-passive", EXTRA, "RFC 8842, 5.3", "the server is DTLS server, which connects in one round less")
def _(target: Target):
    answer = target.first.answer
    roles = [answer.of(part, "setup") for part in answer.accepted]
    need(all(role in ("active", "passive") for role in roles), "no role is decided")
    each(answer, "a=setup:passive", lambda part: answer.of(part, "setup") == "passive")


@assertion("answer.ice-ufrag", MUST, "RFC 8839, 5.4", "ice-ufrag has 4 to 256 characters of ICE's alphabet")
def _(target: Target):
    answer = target.first.answer
    each(answer, "4 to 256 of A-Z a-z 0-9 + /",
         lambda part: re.fullmatch(r"[A-Za-z0-9+/]{4,256}", answer.of(part, "ice-ufrag") or ""))


@assertion("answer.ice-pwd", MUST, "RFC 8839, 5.4", "ice-pwd has 22 to 256 characters of ICE's alphabet")
def _(target: Target):
    answer = target.first.answer
    each(answer, "22 to 256 of A-Z a-z 0-9 + /",
         lambda part: re.fullmatch(r"[A-Za-z0-9+/]{22,256}", answer.of(part, "ice-pwd") or ""))


@assertion("answer.ice-fresh", MUST, "RFC 8445, 5.3", "two sessions have different ICE passwords")
def _(target: Target):
    passwords = [s.answer.of(s.answer.accepted[0], "ice-pwd") if s.answer.accepted else None
                 for s in (target.first, target.open())]
    expect(need(passwords[0], "no password") != passwords[1], "two passwords", passwords)


@assertion("answer.fingerprint", MUST, "RFC 8122, 5", "there is a certificate's fingerprint, by SHA-256 or stronger")
def _(target: Target):
    answer = target.first.answer
    sizes = {"sha-256": 32, "sha-384": 48, "sha-512": 64}

    def fits(part: Part) -> bool:
        digest, _, value = (answer.of(part, "fingerprint") or " ").partition(" ")
        size = sizes.get(digest.lower(), 0)
        return bool(re.fullmatch(rf"[0-9A-F]{{2}}(:[0-9A-F]{{2}}){{{size - 1}}}", value)) if size else False

    each(answer, "sha-256 and 32 pairs of capital hexadecimal digits", fits)


@assertion("answer.candidates", MUST, "WHEP, Trickle ICE", "the answer has all of the server's candidates, so at least one")
def _(target: Target):
    answer = target.first.answer
    expect(answer.candidates, "a=candidate", answer.text)


@assertion("answer.candidate-form", MUST, "RFC 8839, 5.1", "every candidate is well formed, of component 1")
def _(target: Target):
    form = re.compile(r"[A-Za-z0-9+/]{1,32} 1 (udp|tcp) \d{1,10} (\S+) (\d{1,5}) typ (host|srflx|prflx|relay)( \S+ \S+)*", re.I)
    for candidate in need(target.first.answer.candidates, "no candidates"):
        found = form.fullmatch(candidate)
        expect(found and int(found[3]) <= 65535, "foundation 1 udp priority address port typ kind", candidate)
        expect(found[1].lower() != "tcp" or " tcptype " in candidate, "tcptype on a TCP candidate (RFC 6544)", candidate)


@assertion("answer.candidate-once", SHOULD, "RFC 8445, 5.1.3", "no candidate appears twice")
def _(target: Target):
    # Of a bundle all sections may repeat them: looked at section by section.
    answer = target.first.answer
    need(answer.candidates, "no candidates")
    for part in [answer.session, *answer.media]:
        addresses = [tuple(c.split()[1:3] + c.split()[4:6]) for c in part.all("candidate") if len(c.split()) > 5]
        expect(len(addresses) == len(set(addresses)), "each transport address once", part.all("candidate"))


@assertion("answer.candidate-reachable", EXTRA, "RFC 8445, 5.1.1", "no candidate is a wildcard, multicast or port 0")
def _(target: Target):
    for candidate in need(target.first.answer.candidates, "no candidates"):
        words = candidate.split()
        need(len(words) > 5, "a candidate is malformed")
        try:
            address = ipaddress.ip_address(words[4])
        except ValueError:
            continue  # A name.
        fine = not address.is_unspecified and not address.is_multicast and words[5] != "0"
        expect(fine, "an address packets can be sent to", candidate)


@assertion("answer.payload-types", MUST, "RFC 3264, 6.1", "payload types are the offer's, and mean the same")
def _(target: Target):
    offer, answer = answered(target)
    for ours, theirs in zip(offer.media, answer.media):
        if theirs.rejected or theirs.kind not in ("audio", "video"):
            continue
        offered, taken = ours.encodings(), theirs.encodings()
        expect(taken, "a payload type", theirs.lines)
        for number, encoding in taken.items():
            expect(offered.get(number) == encoding, f"{number} as offered: {offered.get(number)}", encoding)


@assertion("answer.rtx", MUST, "RFC 4588, 8.1", "retransmissions (rtx) are for a payload type that is in the answer")
def _(target: Target):
    for part in target.first.answer.accepted:
        parameters = dict(value.split(" ", 1) for value in part.all("fmtp") if " " in value)
        for number, encoding in part.encodings().items():
            if encoding.startswith("rtx/"):
                found = re.search(r"apt=(\d+)", parameters.get(number, ""))
                expect(found and found[1] in part.formats, f"apt of {part.formats}", parameters.get(number))


@assertion("answer.extensions", MUST, "RFC 8285, 6", "header extensions are the offer's, by the same number")
def _(target: Target):
    offer, answer = answered(target)
    for ours, theirs in zip(offer.media, answer.media):
        known = {tuple(re.split(r"[/ ]", value, 1)[:1]) + (value.split()[-1],) for value in ours.all("extmap")}
        for value in theirs.all("extmap"):
            words = value.split()
            expect((words[0].split("/")[0], words[1]) in known, known, value)


@assertion("answer.nack", SHOULD, "RFC 8834, 5.1", "video is repaired on request: generic NACK and PLI are in the answer")
def _(target: Target):
    videos = need([p for p in target.first.answer.accepted if p.kind == "video"], "no video")
    feedback = {value.split(" ", 1)[-1] for value in videos[0].all("rtcp-fb")}
    expect({"nack", "nack pli"} <= feedback, "nack, nack pli", feedback)
