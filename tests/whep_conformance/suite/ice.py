"""PATCH: candidates that follow (RFC 8840), and ICE restarts."""

from .checks import EXTRA, MUST, SHOULD, assertion, expect, need
from .sdp import Description, credentials
from .target import FRAGMENT, OTHER_CANDIDATE, SDP, Session, Target
from .web import Response

PATCHING = "WHEP, HTTP PATCH Request Usage"
TRICKLE = "WHEP, Trickle ICE"
RESTART = "WHEP, ICE Restarts"


def trickling(target: Target) -> Session:
    """A session of a server that takes candidates."""
    need(target.trickled.status // 100 == 2, f"the first candidate was refused: {target.trickled}")
    return target.open()


@assertion("trickle.status", MUST, TRICKLE, "a candidate under the right entity tag is answered 204 No Content")
def _(target: Target):
    expect(target.trickled.status == 204, "204", target.trickled)


@assertion("trickle.supported", SHOULD, "WHEP, ICE Support", "trickle ICE is supported")
def _(target: Target):
    session = target.open()
    answer = session.patch(session.offer.fragment(OTHER_CANDIDATE))
    expect(answer.status not in (405, 422, 501), "204", answer)


@assertion("trickle.no-etag", MUST, TRICKLE, "that 204 has no entity tag")
def _(target: Target):
    need(target.trickled.status // 100 == 2, "refused")
    expect(target.trickled.get("etag") is None, "no ETag", target.trickled.get("etag"))


@assertion("trickle.no-if-match", MUST, PATCHING, "without If-Match it is answered 428 Precondition Required")
def _(target: Target):
    session = trickling(target)
    answer = session.patch(session.offer.fragment(OTHER_CANDIDATE), None)
    expect(answer.status == 428, "428", answer)


@assertion("trickle.wrong-if-match", MUST, PATCHING, "with another entity tag it is answered 412 Precondition Failed")
def _(target: Target):
    session = trickling(target)
    answer = session.patch(session.offer.fragment(OTHER_CANDIDATE), '"not-the-tag"')
    expect(answer.status == 412, "412", answer)


@assertion("trickle.weak-if-match", MUST, "RFC 9110, 13.1.1", "the right entity tag made weak does not match: If-Match compares strongly")
def _(target: Target):
    session = trickling(target)
    need(session.etag, "no entity tag")
    answer = session.patch(session.offer.fragment(OTHER_CANDIDATE), f"W/{session.etag}")
    expect(answer.status == 412, "412", answer)


@assertion("trickle.list-if-match", MUST, "RFC 9110, 13.1.1", "a list of entity tags with the right one among them matches")
def _(target: Target):
    session = trickling(target)
    need(session.etag, "no entity tag")
    answer = session.patch(session.offer.fragment(OTHER_CANDIDATE), f'"other", {session.etag}')
    expect(answer.status // 100 == 2, "2xx", answer)


@assertion("trickle.any-if-match", MUST, "RFC 9110, 13.1.1", "`If-Match: *` matches whatever there is")
def _(target: Target):
    session = trickling(target)
    answer = session.patch(session.offer.fragment(OTHER_CANDIDATE), "*")
    expect(answer.status // 100 == 2, "2xx", answer)


@assertion("trickle.content-type", MUST, PATCHING, "a PATCH of another content type is refused")
def _(target: Target):
    session = trickling(target)
    answer = session.patch(session.offer.fragment(OTHER_CANDIDATE), kind="application/json")
    expect(answer.status // 100 == 4, "4xx", answer)


@assertion("trickle.content-type-415", SHOULD, "RFC 5789, 2.2", "and by 415 Unsupported Media Type")
def _(target: Target):
    session = trickling(target)
    answer = session.patch(session.offer.fragment(OTHER_CANDIDATE), kind="application/json")
    need(answer.status // 100 == 4, "not refused at all")
    expect(answer.status == 415, "415", answer)


@assertion("trickle.malformed", MUST, PATCHING, "a PATCH that is no SDP fragment is refused")
def _(target: Target):
    answer = trickling(target).patch("hello, camera")
    expect(answer.status // 100 == 4, "4xx", answer)


@assertion("trickle.binary", MUST, PATCHING, "a PATCH that is not text is refused")
def _(target: Target):
    session = trickling(target)
    headers = {"Content-Type": FRAGMENT, "If-Match": session.etag or "*"}
    answer = session.client.send("PATCH", session.url, headers, b"\xff\xfe\x00\x80" * 40)
    expect(answer.status // 100 == 4, "4xx", answer)


@assertion("trickle.unusable", MUST, TRICKLE, "candidates it cannot use (TCP, mDNS names, other components) are ignored silently")
def _(target: Target):
    session = trickling(target)
    lines = ["candidate:1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active",
             "candidate:2 1 udp 2122260223 7e0d7fab-0000-4000-8000-000000000000.local 61764 typ host",
             "candidate:3 2 udp 2122260222 192.0.2.1 61766 typ host",
             "candidate:4 1 udp 2122260223 2001:db8::1 61767 typ host"]
    answer = session.patch(session.offer.fragment(*lines))
    expect(answer.status // 100 == 2, "2xx", answer)


@assertion("trickle.end", MUST, "RFC 8840, 4.4", "the end of candidates is taken, with none before it")
def _(target: Target):
    session = trickling(target)
    answer = session.patch(session.offer.fragment("end-of-candidates"))
    expect(answer.status // 100 == 2, "2xx", answer)


@assertion("trickle.again", MUST, TRICKLE, "the same candidate may be sent again, and overtaken by others")
def _(target: Target):
    session = trickling(target)
    for candidate in (OTHER_CANDIDATE, OTHER_CANDIDATE):
        answer = session.patch(session.offer.fragment(candidate))
        expect(answer.status // 100 == 2, "2xx", answer)


@assertion("trickle.unknown-session", SHOULD, "RFC 9110, 15.5.5", "a PATCH to a session there is not is answered 404")
def _(target: Target):
    session = trickling(target)
    headers = {"Content-Type": FRAGMENT, "If-Match": session.etag or "*"}
    answer = session.client.send("PATCH", session.url + "0", headers, session.offer.fragment(OTHER_CANDIDATE))
    expect(answer.status == 404, "404", answer)


@assertion("trickle.sdp", MUST, PATCHING, "a whole SDP by PATCH is refused: there is no renegotiation")
def _(target: Target):
    session = trickling(target)
    answer = session.patch(str(session.offer), kind=SDP)
    expect(answer.status // 100 == 4, "4xx", answer)


def restart(session: Session) -> tuple[Response, tuple[str, str]]:
    """An ICE restart, and the credentials it was asked with."""
    ufrag, password = credentials()
    body = session.offer.fragment(OTHER_CANDIDATE, "end-of-candidates", ufrag=ufrag, password=password)
    return session.patch(body, "*"), (ufrag, password)


def restarted(target: Target) -> tuple[Session, Response, tuple[str, str]]:
    """A session after an ICE restart; skips where there is none."""
    session = target.open()
    answer, ours = restart(session)
    need(answer.status // 100 == 2, f"no ICE restart: {answer}")
    return session, answer, ours


@assertion("restart.status", MUST, RESTART, "new ICE credentials under `If-Match: *` are answered 200, or refused by an error")
def _(target: Target):
    answer, _ = restart(target.open())
    expect(answer.status == 200 or answer.status >= 400, "200, or 4xx or 5xx", answer)


@assertion("restart.supported", SHOULD, "WHEP, ICE Support", "ICE restarts are supported")
def _(target: Target):
    answer, _ = restart(target.open())
    expect(answer.status // 100 == 2, "200", answer)


@assertion("restart.refused", MUST, RESTART, "a refused ICE restart leaves the session as it was")
def _(target: Target):
    session = target.open()
    answer, _ = restart(session)
    need(answer.status // 100 != 2, "it was not refused")
    expect(session.delete().status // 100 == 2, "a session that can be ended", "it is gone")


@assertion("restart.unsupported-422", MUST, PATCHING, "where trickle ICE is supported and ICE restarts are not, they are refused by 422")
def _(target: Target):
    need(target.trickled.status // 100 == 2, "no trickle ICE either")
    answer, _ = restart(target.open())
    need(answer.status // 100 != 2, "it was not refused")
    expect(answer.status == 422, "422", answer)


@assertion("restart.content-type", MUST, RESTART, "the answer to an ICE restart is a trickle fragment")
def _(target: Target):
    _, answer, _ = restarted(target)
    expect(answer.media_type == FRAGMENT, FRAGMENT, answer)


@assertion("restart.etag", MUST, RESTART, "the answer to an ICE restart has a new strong entity tag")
def _(target: Target):
    session, answer, _ = restarted(target)
    tag = answer.get("etag") or ""
    expect(tag.startswith('"') and tag != session.etag, f"another than {session.etag}", tag)


@assertion("restart.credentials", MUST, RESTART, "the answer to an ICE restart has both a new ufrag and a new password")
def _(target: Target):
    session, answer, _ = restarted(target)
    fragment = Description(answer.text)
    parts = [fragment.session, *fragment.media]
    for name in ("ice-ufrag", "ice-pwd"):
        before = {session.answer.of(part, name) for part in session.answer.accepted}
        now = {value for part in parts for value in part.all(name)}
        expect(now and not now & before, f"a new {name}", answer)


@assertion("restart.candidates", MUST, RESTART, "the answer to an ICE restart has the server's candidates")
def _(target: Target):
    _, answer, _ = restarted(target)
    expect(Description(answer.text).candidates, "a=candidate", answer.text)


@assertion("restart.mid", MUST, "RFC 8840, 4.4", "the fragment names its section by m= and mid")
def _(target: Target):
    session, answer, _ = restarted(target)
    fragment = Description(answer.text)
    mids = need({part.get("mid") for part in session.answer.accepted}, "no accepted section")
    fine = fragment.media and fragment.media[0].get("mid") in mids
    expect(fine, f"an m= line and a mid of {mids}", answer.text)


@assertion("restart.ice-options", MUST, RESTART, "the fragment's ice-lite and ice-options are those of the SDP answer")
def _(target: Target):
    session, answer, _ = restarted(target)
    need(session.answer.accepted, "no accepted section")

    def said(description: Description) -> tuple[bool, set[str]]:
        parts = [description.session, *description.media]
        options = {word for part in parts for value in part.all("ice-options") for word in value.split()}
        return any("ice-lite" in part.flags for part in parts), options

    before, now = said(session.answer), said(Description(answer.text))
    expect(before == now, before, now)


@assertion("restart.old-etag", MUST, PATCHING, "after an ICE restart the old entity tag no longer matches")
def _(target: Target):
    session, _, (ufrag, password) = restarted(target)
    need(session.etag, "no entity tag")
    answer = session.patch(session.offer.fragment(OTHER_CANDIDATE, ufrag=ufrag, password=password))
    expect(answer.status == 412, "412", answer)


@assertion("restart.new-etag", MUST, PATCHING, "after an ICE restart candidates go on under the new entity tag")
def _(target: Target):
    need(target.trickled.status // 100 == 2, "no trickle ICE")
    session, answer, (ufrag, password) = restarted(target)
    body = session.offer.fragment(OTHER_CANDIDATE, ufrag=ufrag, password=password)
    answer = session.patch(body, need(answer.get("etag"), "no new entity tag"))
    expect(answer.status // 100 == 2, "2xx", answer)


@assertion("restart.twice", MUST, RESTART, "a session can be restarted more than once")
def _(target: Target):
    session, first, _ = restarted(target)
    answer, _ = restart(session)
    fine = answer.status // 100 == 2 and answer.text != first.text
    expect(fine, "2xx, and other credentials", answer)


@assertion("restart.half", EXTRA, "RFC 8839, 5.4", "a new ufrag without a new password is refused")
def _(target: Target):
    restarted(target)
    session = target.open()
    ufrag, _ = credentials()
    body = "".join(line for line in session.offer.fragment(ufrag=ufrag).splitlines(True) if "ice-pwd" not in line)
    answer = session.patch(body, "*")
    expect(answer.status // 100 == 4, "4xx", answer)
