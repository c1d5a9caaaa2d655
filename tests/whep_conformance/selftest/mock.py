"""A WHEP server that does everything right, but for the one fault it is given.

The name of a fault is that of the assertion which must notice it. Nothing
plays here: see mock_media.py for a server that sends pictures.
"""

import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from suite.sdp import Description, Part, credentials
from suite.target import FRAGMENT, SDP

TOKEN = "sesame"
ORIGIN = "https://viewer.example"
LIMIT = 64 << 10
CANDIDATE = "candidate:1 1 udp 2130706431 127.0.0.1 9 typ host"


class Session:
    """What a POST made here."""

    def __init__(self, fault: str, number: int, offer: Description):
        self.offer = offer
        first = offer.media[0]
        self.remote = first.get("ice-ufrag"), first.get("ice-pwd")
        self.ufrag, self.password = credentials()
        if fault == "answer.ice-fresh":
            self.password = "0123456789abcdef01234567"
        self.id = "a" * 28 + f"{number:04x}" if fault == "create.random-id" else secrets.token_hex(16)
        self.tag = '"same"' if fault == "create.etag-unique" else f'"{secrets.token_hex(6)}"'
        self.restarts = 0
        self.candidates: list[str] = []

    def matches(self, header: str, fault: str) -> bool:
        """RFC 9110, 13.1.1."""
        if header == "*":
            return True
        weak_too = fault in ("create.etag", "trickle.weak-if-match") or (fault == "restart.etag" and self.restarts)
        tags = [header] if fault == "trickle.list-if-match" else [tag.strip() for tag in header.split(",")]
        return any(tag == self.tag or (weak_too and tag == f"W/{self.tag}") for tag in tags)


class Mock:
    """The server; `with` it to have its URL."""

    def __init__(self, fault: str = "", handler: type | None = None):
        self.fault = fault
        self.sessions: dict[str, Session] = {}
        self.ended: set[str] = set()
        self.by_offer: dict[str, Session] = {}
        self.made = 0
        self.lock = threading.Lock()
        mock = self

        class Bound(handler or Handler):
            server_mock = mock
            # A body that does not come is not waited for.
            timeout = None if fault == "refuse.slow" else 0.5

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self.http.daemon_threads = True

    def __enter__(self) -> str:
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{self.http.server_port}/live/yard/whep"

    def __exit__(self, *_) -> None:
        self.http.shutdown()
        self.http.server_close()

    def bad(self, *faults: str) -> bool:
        """Whether the fault is one of these."""
        return self.fault in faults

    def create(self, offer: Description) -> tuple[Session, str]:
        """A session and its answer."""
        with self.lock:
            known = self.by_offer.get(offer.text)
            if self.bad("create.sessions") and known:
                return known, answer(self.fault, known)
            self.made += 1
            session = Session(self.fault, self.made, offer)
            self.sessions[session.id] = self.by_offer[offer.text] = session
            return session, answer(self.fault, session)

    def end(self, session: Session) -> None:
        with self.lock:
            self.sessions.pop(session.id, None)
            self.ended.add(session.id)


class Refused(Exception):
    """A problem to answer with."""

    def __init__(self, status: int, detail: str, kind: str = "application/problem+json", **headers: str):
        super().__init__(detail)
        self.status, self.detail, self.kind, self.headers = status, detail, kind, headers


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_mock: Mock

    def log_message(self, *_) -> None:
        pass

    def bad(self, *faults: str) -> bool:
        return self.server_mock.bad(*faults)

    def reply(self, status: int, headers: dict[str, str], body: str | bytes = b"", links: list[str] = ()) -> None:
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        for link in links:
            self.send_header("Link", link)
        if self.bad("endpoint.keep-alive"):
            self.send_header("Connection", "close")
            self.close_connection = True
        if self.headers.get("Origin") and not self.bad("cors.expose"):
            self.send_header("Access-Control-Expose-Headers", "Location, ETag, Link")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(body)

    def problem(self, refused: Refused) -> None:
        status = refused.status
        members = {"type": "about:blank", "title": "It does not work", "status": status,
                   "detail": refused.detail, "code": "viewer.refused"}
        if self.bad("problem.status"):
            members["status"] = 599
        if self.bad("problem.title"):
            del members["title"], members["detail"]
        if self.bad("problem.code"):
            del members["code"]
        self.reply(status, {"Content-Type": refused.kind, **refused.headers}, json.dumps(members))

    def refuse(self, name: str, status: int, detail: str, **headers: str) -> None:
        """Refuses; `name` is the assertion that looks at how it is told."""
        kind = "text/plain" if self.bad(f"problem.{name}") else "application/problem+json"
        raise Refused(status, detail, kind, **headers)

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def answer(self) -> None:
        """Every method comes here."""
        try:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            words = self.path.strip("/").split("/")
            if len(words) == 3:
                self.endpoint(words[1], body)
            else:
                self.session(words[-1], body)
        except Refused as refused:
            self.problem(refused)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def authorized(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def content_type(self) -> str:
        kind = self.headers.get("Content-Type") or ""
        if self.bad("create.parameters"):
            return kind
        return kind.split(";")[0].strip().lower()

    def preflight(self) -> bool:
        method = self.headers.get("Access-Control-Request-Method")
        if self.command != "OPTIONS" or not method:
            return False
        origin = "https://other.example" if self.bad("cors.preflight") else self.headers.get("Origin", "*")
        sent = "Content-Type" if self.bad("cors.headers") else "Authorization, Content-Type, If-Match"
        methods = "POST" if self.bad("cors.methods") else "POST, PATCH, DELETE"
        self.reply(204, {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Headers": sent,
                         "Access-Control-Allow-Methods": methods})
        return True

    def endpoint(self, stream: str, body: bytes) -> None:
        if self.preflight():
            return
        if self.command == "OPTIONS":
            headers = {} if self.bad("endpoint.accept-post") else {"Accept-Post": SDP}
            self.reply(405 if self.bad("endpoint.options") else 200, headers | {"Allow": "POST"})
        elif self.command == "GET":
            self.reply(200, {"Content-Type": SDP}, "hello" if self.bad("endpoint.get") else "")
        elif self.command == "HEAD":
            self.reply(404 if self.bad("endpoint.head") else 200, {"Content-Type": SDP})
        elif self.command == "POST":
            self.post(stream, body)
        elif (self.command, self.server_mock.fault) in (("PUT", "endpoint.put"), ("DELETE", "end.endpoint")):
            self.reply(200, {})
        else:
            allow = {} if self.bad("endpoint.allow") else {"Allow": "GET, HEAD, OPTIONS, POST"}
            self.refuse("method", 405, "no such method", **allow)

    def post(self, stream: str, body: bytes) -> None:
        if not self.authorized():
            token = self.headers.get("Authorization")
            if not self.bad("auth.wrong" if token else "auth.required"):
                challenge = {} if self.bad("auth.challenge") else {"WWW-Authenticate": "Bearer"}
                raise Refused(401, "who are you?", **challenge)
        if stream == "dark":
            retry = {} if self.bad("create.offline") else {"Retry-After": "5"}
            raise Refused(409, "nobody publishes", **retry)
        if stream != "yard":
            self.refuse("unknown-stream", 400 if self.bad("refuse.unknown-stream") else 404, "no such stream")
        if len(body) > LIMIT and not self.bad("refuse.huge"):
            self.refuse("too-large", 413, "too large")
        self.read_type()
        if body == b"hello, camera" and self.bad("refuse.broken"):
            body = str(good_offer()).encode()
        offer = self.read_offer(body)
        self.created(offer)

    def read_type(self) -> None:
        kind = self.content_type()
        lenient = self.bad("refuse.content-type") and kind == "application/json"
        lenient |= self.bad("refuse.no-content-type") and not kind
        if kind != SDP and not lenient:
            self.refuse("content-type", 400 if self.bad("refuse.content-type-415") else 415, "not SDP")

    def read_offer(self, body: bytes) -> Description:
        bad_status = 418 if self.bad("refuse.broken-status") else 400
        try:
            text = body.decode()
        except UnicodeDecodeError:
            if self.bad("refuse.binary"):
                return Description(str(good_offer()))
            self.refuse("offer", bad_status, "not UTF-8")
        offer = Description(text)
        excused = {"refuse.empty": not text, "refuse.cut-short": text.startswith("v=0") and not offer.media}
        if any(self.bad(name) and applies for name, applies in excused.items()):
            return Description(str(good_offer()))
        if not text.startswith("v=0") or not offer.media:
            self.refuse("offer", bad_status, "not an offer")
        for name, assertion in (("ice-ufrag", "refuse.no-credentials"), ("fingerprint", "refuse.no-fingerprint")):
            if not any(part.get(name) for part in offer.media) and not self.bad(assertion):
                self.refuse("offer", 400, f"no {name}")
        for flag in ("sendonly", "inactive"):
            if flag in offer.media[0].flags and not self.bad(f"refuse.{flag}"):
                self.refuse("offer", 400, f"{flag} in an offer")
        playable = any(choice(part) for part in offer.media)
        if not playable and self.bad("create.counter-offer"):
            raise Refused(406, "no such codec")
        if not playable and not self.bad("create.unplayable"):
            self.refuse("unplayable", 422, "no such codec")
        if not offer.candidates and self.bad("create.no-candidates"):
            self.refuse("offer", 400, "no candidates")
        return offer

    def created(self, offer: Description) -> None:
        if self.bad("create.redirect"):
            self.reply(302, {"Location": "/live/yard2/whep"})
            return
        session, text = self.server_mock.create(offer)
        tag = f"W/{session.tag}" if self.bad("create.etag") else session.tag
        headers = {"Content-Type": SDP, "ETag": tag, "Location": f"whep/{session.id}", "Cache-Control": "no-store"}
        if self.bad("create.content-type"):
            headers["Content-Type"] = "text/plain"
        if self.bad("create.location"):
            del headers["Location"]
        if self.bad("create.no-store"):
            del headers["Cache-Control"]
        links = ['<stun:stun.example.net>; rel="ice-server"',
                 '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="ann"; credential="a\\"b"']
        if self.bad("create.link"):
            links.append('<https://turn.example.net>; rel="ice-server"')
        relation = "urn:example:events" if self.bad("create.extension-links") else "urn:ietf:params:whep:ext:example:events"
        links.append(f'<whep/{session.id}/events>; rel="{relation}"')
        self.reply(200 if self.bad("create.status") else 201, headers, text, links)

    def session(self, id_: str, body: bytes) -> None:
        if self.preflight():
            return
        mock = self.server_mock
        session = mock.sessions.get(id_)
        if self.command == "OPTIONS":
            headers = {} if self.bad("session.accept-patch") else {"Accept-Patch": FRAGMENT}
            self.reply(405 if self.bad("session.options") else 200, headers | {"Allow": "PATCH, DELETE"})
            return
        if self.command == "GET":
            self.reply(200, {}, "hello" if self.bad("session.get") else "")
            return
        if self.command == "PUT":
            if self.bad("session.put"):
                return self.reply(200, {})
            allow = {} if self.bad("session.allow") else {"Allow": "GET, OPTIONS, PATCH, DELETE"}
            self.refuse("method", 405, "no such method", **allow)
        if not self.authorized() and not self.bad("auth.session"):
            raise Refused(401, "who are you?", **{"WWW-Authenticate": "Bearer"})
        if session is None:
            excused = {"DELETE": "end.gone" if id_ in mock.ended else "end.unknown",
                       "PATCH": "end.patch" if id_ in mock.ended else "trickle.unknown-session"}
            if self.bad(excused[self.command]):
                return self.reply(204, {})
            self.refuse("unknown-session", 404, "no such session")
        if self.command == "DELETE":
            if self.bad("end.ignores-if-match") and self.headers.get("If-Match"):
                raise Refused(412, "another session")
            mock.end(session)
            self.reply(204 if self.bad("end.status") else 200, {})
        else:
            self.patch(session, body)

    def patch(self, session: Session, body: bytes) -> None:
        kind = self.content_type()
        if kind != FRAGMENT:
            excused = {"application/json": "trickle.content-type", SDP: "trickle.sdp"}.get(kind, "")
            if excused and self.bad(excused):
                return self.reply(204, {})
            raise Refused(400 if self.bad("trickle.content-type-415") else 415, "not a fragment")
        try:
            text = body.decode()
        except UnicodeDecodeError:
            if self.bad("trickle.binary"):
                return self.reply(204, {})
            raise Refused(400, "not UTF-8") from None
        part = Description(text)
        if not all(line[1:2] == "=" for line in text.splitlines()) or not text:
            if self.bad("trickle.malformed"):
                return self.reply(204, {})
            raise Refused(400, "not a fragment")
        sections = [part.session, *part.media]
        ufrag, password = (next((v for s in sections for v in s.all(name)), None) for name in ("ice-ufrag", "ice-pwd"))
        if ufrag and ufrag != session.remote[0]:
            self.restart(session, ufrag, password)
        else:
            self.trickle(session, part)

    def precondition(self, session: Session) -> None:
        header = self.headers.get("If-Match")
        if header is None and not self.bad("trickle.no-if-match"):
            raise Refused(428, "If-Match is needed")
        excused = self.bad("trickle.wrong-if-match") and header == '"not-the-tag"'
        excused |= self.bad("restart.old-etag") and session.restarts
        matched = header is None or session.matches(header, self.server_mock.fault) or excused
        if self.bad("trickle.any-if-match") and header == "*":
            matched = False
        if self.bad("restart.new-etag") and session.restarts:
            matched = False
        if not matched:
            self.refuse("precondition", 412, "another session")

    def trickle(self, session: Session, part: Description) -> None:
        self.precondition(session)
        candidates = part.candidates
        if self.bad("trickle.supported"):
            raise Refused(422, "no trickle ICE")
        unusable = any(" tcp " in candidate for candidate in candidates)
        again = any(candidate in session.candidates for candidate in candidates)
        wrong = {"trickle.unusable": unusable, "trickle.end": not candidates, "trickle.again": again}
        if any(self.bad(name) and applies for name, applies in wrong.items()):
            raise Refused(400, "no such candidate")
        session.candidates += candidates
        headers = {"ETag": session.tag} if self.bad("trickle.no-etag") else {}
        self.reply(200 if self.bad("trickle.status") else 204, headers)

    def restart(self, session: Session, ufrag: str, password: str | None) -> None:
        if self.bad("restart.refused"):
            self.server_mock.end(session)
        if self.bad("restart.supported", "restart.refused"):
            raise Refused(422, "no ICE restarts")
        if self.bad("restart.unsupported-422"):
            raise Refused(405, "no ICE restarts")
        if not password and not self.bad("restart.half"):
            raise Refused(400, "half of the credentials")
        session.restarts += 1
        if self.bad("restart.twice") and session.restarts > 1:
            raise Refused(409, "once is enough")
        old = session.ufrag
        session.remote = ufrag, password
        session.ufrag, session.password = credentials()
        if self.bad("restart.credentials"):
            session.ufrag = old
        session.tag = f'"{secrets.token_hex(6)}"'
        lines = [f"m={session.offer.media[0].kind} 9 UDP/TLS/RTP/SAVPF 0", f"a=mid:{mid(self.server_mock.fault, 0)}"]
        if self.bad("restart.mid"):
            lines = []
        lines += [f"a=ice-ufrag:{session.ufrag}", f"a=ice-pwd:{session.password}"]
        if not self.bad("restart.ice-options"):
            lines.insert(0, "a=ice-options:trickle")
        if not self.bad("restart.candidates"):
            lines += [f"a={CANDIDATE}", "a=end-of-candidates"]
        tag = f"W/{session.tag}" if self.bad("restart.etag") else session.tag
        kind = SDP if self.bad("restart.content-type") else FRAGMENT
        text = "".join(f"{line}\r\n" for line in lines)
        self.reply(201 if self.bad("restart.status") else 200, {"Content-Type": kind, "ETag": tag}, text)


def good_offer():
    """What a fault takes a bad offer for."""
    from suite.sdp import Offer

    return Offer()


def mid(fault: str, at: int) -> str:
    return f"x{at}" if fault == "answer.mid" else str(at)


def choice(part: Part) -> list[str]:
    """Payload types taken of a section: H.264 and its rtx, or PCMA."""
    found = part.encodings()
    wanted = next((n for n, e in found.items() if e in ("h264/90000", "pcma/8000")), None)
    if wanted is None:
        return []
    rtx = [value.split()[0] for value in part.all("fmtp") if value.endswith(f"apt={wanted}")]
    return [wanted, *rtx]


def answer(fault: str, session: Session) -> str:
    """The SDP answer (RFC 9429, 5.3.1)."""
    offer = session.offer
    bad = lambda name: fault == f"answer.{name}"
    parts = list(enumerate(offer.media))
    kinds = [part.kind for part in offer.media]
    if bad("sections") and kinds == ["video", "audio"]:
        parts.reverse()
    if bad("data-channel"):
        parts = [(at, part) for at, part in parts if part.kind != "application"]
    sections, mids, taken = [], [], set()
    for at, part in parts:
        types = [] if bad("media") else choice(part)
        # One track of a kind.
        if part.kind in taken and fault != "refuse.two-videos":
            types = []
        taken.add(part.kind)
        if types:
            mids.append(mid(fault, at))
        sections.append(section(fault, session, at, part, types))
    head = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    if bad("form"):
        head.remove("s=-")
    if not bad("bundle"):
        head.append("a=group:BUNDLE " + " ".join(mids))
    end = "\n" if bad("line-ends") else "\r\n"
    return "".join(line + end for line in [*head, *(line for lines in sections for line in lines)])


def section(fault: str, session: Session, at: int, part: Part, types: list[str]) -> list[str]:
    """A media section of the answer."""
    bad = lambda name: fault == f"answer.{name}"
    protocol = "RTP/SAVPF" if bad("protocol") else part.protocol
    port = "9" if types else "0"
    lines = [f"m={part.kind} {port} {protocol} {' '.join(types or part.formats)}", "c=IN IP4 0.0.0.0",
             f"a=mid:{mid(fault, at)}"]
    candidate = CANDIDATE.replace(" 9 ", " 99999 ") if bad("candidate-form") else CANDIDATE
    if bad("candidate-reachable"):
        candidate = CANDIDATE.replace("127.0.0.1", "0.0.0.0")
    if not bad("candidates"):
        lines += [f"a={candidate}"] * (2 if bad("candidate-once") else 1)
    if not types:
        return lines
    offered = part.get("setup")
    setup = {"passive": "active", "active": "passive"}.get(offered, "active" if bad("setup-passive") else "passive")
    if bad("setup") and offered == "actpass":
        setup = "actpass"
    if f"create.setup-{offered}" == fault:
        setup = offered
    direction = "sendrecv" if (bad("direction") and "recvonly" in part.flags) or (fault == "create.sendrecv" and "sendrecv" in part.flags) else "sendonly"
    digest = ":".join(["AB"] * (20 if bad("fingerprint") else 32))
    ufrag = "abc" if bad("ice-ufrag") else session.ufrag
    password = session.password[:20] if bad("ice-pwd") else session.password
    lines += [f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{password}", "a=ice-options:trickle",
              f"a=fingerprint:{'sha-1' if bad('fingerprint') else 'sha-256'} {digest}", f"a=setup:{setup}", f"a={direction}"]
    lines += [] if bad("rtcp-mux") else ["a=rtcp-mux"]
    lines += [] if bad("rtcp-mux-only") else ["a=rtcp-mux-only"]
    lines += [f"a=msid:{part.kind if bad('msid') else 'yard'} {part.kind}"]
    lines += ["a=extmap:9 urn:example:nobodys" if bad("extensions") else f"a=extmap:{value}" for value in part.all("extmap")]
    encodings = part.encodings()
    for number in types:
        encoding = "X-OTHER/90000" if bad("payload-types") and number == types[0] else encodings[number]
        lines.append(f"a=rtpmap:{number} {encoding}")
        if encoding.startswith("rtx"):
            lines.append(f"a=fmtp:{number} apt={'33' if bad('rtx') else types[0]}")
        elif part.kind == "video":
            lines += [f"a=rtcp-fb:{number} {what}" for what in (["nack"] if bad("nack") else ["nack", "nack pli"])]
    return lines
