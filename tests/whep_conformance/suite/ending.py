"""DELETE, and what there is after it."""

from .checks import EXTRA, MUST, SHOULD, assertion, expect, need
from .sdp import Offer
from .target import FRAGMENT, OTHER_CANDIDATE, SDP, Target

ENDING = "WHEP, Playback Session Termination"


@assertion("end.status", MUST, "WHEP, Protocol Operation Steps", "DELETE on the session is answered 200")
def _(target: Target):
    answer = target.open().delete()
    expect(answer.status == 200, "200", answer)


@assertion("end.ignores-if-match", MUST, "WHEP, HTTP PATCH Request Usage", "DELETE ignores any entity tag")
def _(target: Target):
    answer = target.open().delete({"If-Match": '"not-the-tag"'})
    expect(answer.status // 100 == 2, "2xx", answer)


@assertion("end.gone", MUST, ENDING, "a session that was ended is no longer there: 404, or 410")
def _(target: Target):
    session = target.open()
    need(session.delete().status // 100 == 2, "DELETE failed")
    answer = session.delete()
    expect(answer.status in (404, 410), "404 or 410", answer)


@assertion("end.patch", MUST, ENDING, "nor does it take candidates any more")
def _(target: Target):
    need(target.trickled, "no trickle ICE")
    session = target.open()
    need(session.delete().status // 100 == 2, "DELETE failed")
    answer = session.patch(session.offer.fragment(OTHER_CANDIDATE))
    expect(answer.status in (404, 410), "404 or 410", answer)


@assertion("end.unknown", SHOULD, "RFC 9110, 15.5.5", "DELETE on a session there never was is answered 404")
def _(target: Target):
    url = target.first.url
    answer = target.client.send("DELETE", url[:-1] + ("0" if url[-1] != "0" else "1"))
    expect(answer.status == 404, "404", answer)


@assertion("end.endpoint", MUST, "RFC 9110, 15.5.6", "DELETE on the endpoint ends nothing")
def _(target: Target):
    session = target.open()
    answer = target.client.send("DELETE", target.url)
    expect(answer.status // 100 == 4, "4xx", answer)
    expect(session.delete().status // 100 == 2, "the session untouched", "it is gone")


@assertion("auth.required", MUST, "WHEP, Bearer Token Authentication", "without the token a POST is answered 401")
def _(target: Target):
    need(target.token, "no --bearer was given")
    answer = target.client.send("POST", target.url, {"Content-Type": SDP}, str(Offer()), token=False)
    expect(answer.status == 401, "401", answer)


@assertion("auth.wrong", MUST, "RFC 6750, 3.1", "with another token a POST is answered 401 or 403")
def _(target: Target):
    need(target.token, "no --bearer was given")
    headers = {"Content-Type": SDP, "Authorization": "Bearer not-the-token"}
    answer = target.client.send("POST", target.url, headers, str(Offer()))
    expect(answer.status in (401, 403), "401 or 403", answer)


@assertion("auth.challenge", MUST, "RFC 9110, 11.6.1", "that 401 names a way to log in: WWW-Authenticate")
def _(target: Target):
    need(target.token, "no --bearer was given")
    answer = target.client.send("POST", target.url, {"Content-Type": SDP}, str(Offer()), token=False)
    need(answer.status == 401, f"not 401 but {answer.status}")
    schemes = " ".join(answer.all("www-authenticate")).lower()
    expect("bearer" in schemes or "basic" in schemes, "Bearer", schemes)


@assertion("auth.session", EXTRA, "WHEP, Bearer Token Authentication", "without the token nobody ends or changes a session")
def _(target: Target):
    need(target.token, "no --bearer was given")
    session = target.open()
    for method in ("PATCH", "DELETE"):
        headers = {"Content-Type": FRAGMENT, "If-Match": "*"} if method == "PATCH" else {}
        body = session.offer.fragment(OTHER_CANDIDATE) if method == "PATCH" else None
        answer = target.client.send(method, session.url, headers, body, token=False)
        expect(answer.status in (401, 403, 404), f"401, 403 or 404 to {method}", answer)
