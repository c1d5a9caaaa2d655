"""POST: what a bad offer gets, and how refusals look."""

import json

from .checks import EXTRA, MUST, SHOULD, assertion, expect, need
from .sdp import Offer
from .target import SDP, Target
from .web import Response

ERRORS = "WHEP, Error Conditions"
DIRECTION = "WHEP, Media Direction Attributes"


def refused(answer: Response) -> None:
    expect(answer.status // 100 == 4, "4xx", answer)


@assertion("refuse.content-type", MUST, ERRORS, "a POST of another content type is refused")
def _(target: Target):
    refused(target.post(str(Offer()), "application/json"))


@assertion("refuse.content-type-415", SHOULD, "RFC 9110, 15.5.16", "and by 415 Unsupported Media Type")
def _(target: Target):
    answer = target.post(str(Offer()), "application/json")
    need(answer.status // 100 == 4, "not refused at all")
    expect(answer.status == 415, "415", answer)


@assertion("refuse.no-content-type", MUST, ERRORS, "a POST without a content type is refused")
def _(target: Target):
    refused(target.post(str(Offer()), None))


@assertion("refuse.broken", MUST, ERRORS, "a POST that is not SDP is refused")
def _(target: Target):
    refused(target.post("hello, camera"))


@assertion("refuse.broken-status", SHOULD, "RFC 9110, 15.5.1 and 15.5.21", "and by 400 or 422")
def _(target: Target):
    answer = target.post("hello, camera")
    need(answer.status // 100 == 4, "not refused at all")
    expect(answer.status in (400, 422), "400 or 422", answer)


@assertion("refuse.empty", MUST, ERRORS, "an empty POST is refused")
def _(target: Target):
    refused(target.post(""))


@assertion("refuse.binary", MUST, ERRORS, "a POST that is not UTF-8 is refused")
def _(target: Target):
    refused(target.post(b"v=0\r\n\xff\xfe\x00\x80" * 20))


@assertion("refuse.cut-short", MUST, ERRORS, "an offer that ends before its first media section is refused")
def _(target: Target):
    refused(target.post(str(Offer()).split("m=")[0]))


def without(name: str) -> str:
    return "".join(line for line in str(Offer()).splitlines(True) if not line.startswith(f"a={name}"))


@assertion("refuse.no-credentials", MUST, ERRORS, "an offer without ICE credentials is refused")
def _(target: Target):
    refused(target.post(without("ice-")))


@assertion("refuse.no-fingerprint", MUST, ERRORS, "an offer without a certificate's fingerprint is refused")
def _(target: Target):
    refused(target.post(without("fingerprint")))


@assertion("refuse.sendonly", SHOULD, DIRECTION, "an offer that says sendonly, which it MUST NOT, is refused")
def _(target: Target):
    refused(target.post(str(Offer(direction="sendonly"))))


@assertion("refuse.inactive", SHOULD, DIRECTION, "an offer that says inactive, which it MUST NOT, is refused")
def _(target: Target):
    refused(target.post(str(Offer(direction="inactive"))))


@assertion("refuse.two-videos", SHOULD, "WHEP, Single MediaStream", "of two video sections one at most is answered with media")
def _(target: Target):
    need(target.first, "no session")
    answer = target.post(str(Offer("video", "video")))
    if answer.status // 100 == 2:
        live = [line for line in answer.text.splitlines() if line == "a=sendonly"]
        expect(len(live) <= 1, "one sendonly section, or 4xx", answer.text)
    else:
        refused(answer)


@assertion("refuse.unknown-stream", SHOULD, "RFC 9110, 15.5.5", "a stream that nobody has is answered 404")
def _(target: Target):
    answer = target.post(str(Offer()), url=target.unknown)
    expect(answer.status == 404, f"404 for {target.unknown}", answer)


@assertion("refuse.huge", SHOULD, "RFC 9110, 15.5.14", "an offer of four megabytes is answered 413, or the connection closed")
def _(target: Target):
    filler = "a=x:" + "x" * 1020 + "\r\n"
    try:
        answer = target.post(str(Offer()) + filler * 4096)
    except (ConnectionError, BrokenPipeError):
        return
    expect(answer.status == 413, "413", answer)


@assertion("refuse.slow", EXTRA, "RFC 9110, 15.5.9", "a POST that never ends is given up within 30 s")
def _(target: Target):
    try:
        _, answer = target.client.trickle_in(target.url, {"Content-Type": SDP}, b"v=0\r\n", 5000)
    except TimeoutError:
        expect(False, f"closed or refused within {target.patience:g} s", "still waiting")
    expect(answer is None or answer.status // 100 in (4, 5), "408 or a closed connection", answer)


def problem(answer: Response) -> dict:
    """The members of a problem document; skips where there is none."""
    need(answer.status >= 400, f"not refused: {answer.status}")
    need(answer.media_type == "application/problem+json", f"no problem document: {answer}")
    try:
        members = json.loads(answer.text)
    except ValueError:
        members = None
    expect(isinstance(members, dict), "a JSON object", answer.text)
    return members


@assertion("problem.status", MUST, "RFC 9457, 3.1.2", "a problem's `status` is the response's")
def _(target: Target):
    answer = target.post("hello, camera")
    members = problem(answer)
    expect(members.get("status", answer.status) == answer.status, answer.status, members)


@assertion("problem.title", SHOULD, "RFC 9457, 3.1.3", "a problem says in words what is wrong")
def _(target: Target):
    members = problem(target.post("hello, camera"))
    words = members.get("title") or members.get("detail")
    expect(isinstance(words, str) and len(words) > 3, "`title` or `detail`", members)


@assertion("problem.code", EXTRA, "RFC 9457, 3.2", "a problem says for programs what is wrong: `code`, or a `type` of its own")
def _(target: Target):
    members = problem(target.post("hello, camera"))
    fine = members.get("code") or members.get("type", "about:blank") != "about:blank"
    expect(fine, "`code` or `type`", members)


def _document(id_: str, what: str, ask) -> None:
    """Every kind of refusal is a problem document."""

    @assertion(f"problem.{id_}", EXTRA, "WHEP, HTTP Usage; RFC 9457, 3", f"{what} is told as application/problem+json")
    def _(target: Target):
        answer = ask(target)
        need(answer.status >= 400, f"not refused: {answer.status}")
        expect(answer.media_type == "application/problem+json", "application/problem+json", answer)


_document("offer", "a broken offer", lambda t: t.post("hello, camera"))
_document("content-type", "a wrong content type", lambda t: t.post(str(Offer()), "application/json"))
_document("unknown-stream", "an unknown stream", lambda t: t.post(str(Offer()), url=t.unknown))
_document("unplayable", "an offer without any codec of the stream", lambda t: _unplayable(t))
_document("method", "a method there is not", lambda t: t.client.send("PUT", t.url, {"Content-Type": SDP}, "v=0"))
_document("too-large", "an offer too large", lambda t: _too_large(t))
_document("unknown-session", "an unknown session", lambda t: t.client.send("DELETE", t.first.url + "0"))
_document("precondition", "a wrong entity tag", lambda t: t.trickled and t.first.patch(t.first.offer.fragment(), '"other"'))


def _unplayable(target: Target) -> Response:
    offer = Offer()
    offer.audio, offer.video = [(111, "x-nobodys/48000", "")], [(96, "X-NOBODYS/90000", "")]
    answer = target.post(str(offer))
    # A counter-offer is no problem.
    need(answer.media_type != SDP, "a counter-offer")
    return answer


def _too_large(target: Target) -> Response:
    try:
        return target.post("v=0\r\n" + "x" * (4 << 20))
    except (ConnectionError, BrokenPipeError):
        need(False, "the connection was closed")
        raise
