"""The endpoint before anything is posted: OPTIONS, GET, other methods, CORS."""

from .checks import EXTRA, MUST, SHOULD, assertion, expect, need
from .target import FRAGMENT, SDP, Target

USAGE = "WHEP, HTTP Usage"
DISCOVERY = "WHEP, WHEP Endpoint URL Discoverability"
ENDING = "WHEP, Playback Session Termination"


@assertion("endpoint.options", MUST, ENDING, "OPTIONS on the endpoint succeeds")
def _(target: Target):
    answer = target.client.send("OPTIONS", target.url)
    expect(answer.status // 100 == 2, "2xx", answer)


@assertion("endpoint.accept-post", SHOULD, ENDING, "OPTIONS says in Accept-Post that SDP may be posted")
def _(target: Target):
    answer = target.client.send("OPTIONS", target.url)
    expect(SDP in answer.words("accept-post"), SDP, answer.all("accept-post"))


@assertion("endpoint.get", MUST, USAGE, "GET on the endpoint is answered 2xx, without content")
def _(target: Target):
    answer = target.client.send("GET", target.url)
    expect(answer.status // 100 == 2 and not answer.body, "2xx without content", answer)


@assertion("endpoint.head", SHOULD, DISCOVERY, "HEAD on the endpoint says 200 and application/sdp, so that players know it")
def _(target: Target):
    answer = target.client.send("HEAD", target.url)
    expect((answer.status, answer.media_type) == (200, SDP), f"200 {SDP}", answer)


@assertion("endpoint.put", SHOULD, "RFC 9110, 15.5.6", "a method that the endpoint does not have is answered 405")
def _(target: Target):
    answer = target.client.send("PUT", target.url, {"Content-Type": SDP}, "v=0\r\n")
    expect(answer.status == 405, "405", answer)


@assertion("endpoint.allow", MUST, "RFC 9110, 15.5.6", "a 405 of the endpoint names the methods there are, POST among them")
def _(target: Target):
    answer = target.client.send("PUT", target.url, {"Content-Type": SDP}, "v=0\r\n")
    need(answer.status == 405, f"not 405 but {answer.status}")
    expect("post" in answer.words("allow"), "Allow with POST", answer.all("allow"))


@assertion("endpoint.keep-alive", EXTRA, "RFC 9112, 9.3", "one connection carries OPTIONS, a refused POST and OPTIONS again")
def _(target: Target):
    connection = target.client.connect(target.url)
    try:
        for method, body in (("OPTIONS", None), ("POST", "hello"), ("OPTIONS", None)):
            answer = target.client.send(method, target.url, {"Content-Type": SDP}, body, on=connection)
            closes = "close" in answer.words("connection")
            expect(not closes and connection.sock is not None, "an open connection", f"closed after {method}: {answer}")
    finally:
        connection.close()


def preflight(target: Target, url: str, method: str):
    """What a browser asks before a page of another origin may send `method`."""
    need(target.origin, "no --origin was given")
    headers = {"Origin": target.origin, "Access-Control-Request-Method": method,
               "Access-Control-Request-Headers": "authorization,content-type,if-match"}
    # Browsers send no credentials with it.
    return target.client.send("OPTIONS", url, headers, token=False)


@assertion("cors.preflight", MUST, ENDING, "a preflight for the given origin succeeds without credentials, and allows the origin")
def _(target: Target):
    answer = preflight(target, target.url, "POST")
    allowed = answer.get("access-control-allow-origin")
    expect(answer.status // 100 == 2 and allowed in ("*", target.origin), f"2xx, {target.origin} or *",
           f"{answer.status}, {allowed}")


@assertion("cors.headers", MUST, "Fetch, CORS protocol", "the preflight allows Authorization, Content-Type and If-Match to be sent")
def _(target: Target):
    allowed = preflight(target, target.url, "POST").words("access-control-allow-headers")
    # `*` never covers Authorization (Fetch, CORS-preflight fetch).
    missing = {"authorization", "content-type", "if-match"} - allowed
    expect(not missing or ("*" in allowed and missing <= {"content-type", "if-match"}), "all three", allowed)


@assertion("cors.methods", MUST, "Fetch, CORS protocol", "the session's preflight allows PATCH and DELETE")
def _(target: Target):
    for method in ("PATCH", "DELETE"):
        allowed = preflight(target, target.first.url, method).words("access-control-allow-methods")
        expect(allowed & {method.lower(), "*"}, method, allowed)


@assertion("cors.expose", MUST, "Fetch, CORS protocol", "a page may read Location, ETag and Link of the answer")
def _(target: Target):
    need(target.origin, "no --origin was given")
    answer = target.client.post(target.url, {"Content-Type": SDP, "Origin": target.origin}, str(target.first.offer))
    exposed = answer.words("access-control-expose-headers")
    expect("*" in exposed or {"location", "etag", "link"} <= exposed, "Location, ETag, Link", exposed)


@assertion("session.options", MUST, ENDING, "OPTIONS on the session succeeds")
def _(target: Target):
    answer = target.client.send("OPTIONS", target.first.url)
    expect(answer.status // 100 == 2, "2xx", answer)


@assertion("session.accept-patch", SHOULD, "RFC 5789, 3.1", "OPTIONS on the session says in Accept-Patch that trickle fragments are taken")
def _(target: Target):
    need(target.trickled, "no trickle ICE")
    answer = target.client.send("OPTIONS", target.first.url)
    expect(FRAGMENT in answer.words("accept-patch"), FRAGMENT, answer.all("accept-patch"))


@assertion("session.get", MUST, USAGE, "GET on the session is answered 2xx, without content")
def _(target: Target):
    answer = target.client.send("GET", target.first.url)
    expect(answer.status // 100 == 2 and not answer.body, "2xx without content", answer)


@assertion("session.put", SHOULD, "RFC 9110, 15.5.6", "a method that the session does not have is answered 405")
def _(target: Target):
    answer = target.client.send("PUT", target.first.url, {"Content-Type": SDP}, "v=0\r\n")
    expect(answer.status == 405, "405", answer)


@assertion("session.allow", MUST, "RFC 9110, 15.5.6", "a 405 of the session names the methods there are, DELETE among them")
def _(target: Target):
    answer = target.client.send("PUT", target.first.url, {"Content-Type": SDP}, "v=0\r\n")
    need(answer.status == 405, f"not 405 but {answer.status}")
    expect("delete" in answer.words("allow"), "Allow with DELETE", answer.all("allow"))
