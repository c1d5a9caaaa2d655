"""The server under test, and sessions made on it."""

import re
import secrets
from functools import cached_property
from typing import Any, Callable
from urllib.parse import urljoin, urlsplit, urlunsplit

from .checks import Skipped
from .sdp import Description, Offer
from .web import Client, Response

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"


class Session:
    """What a POST created."""

    def __init__(self, client: Client, offer: Offer, response: Response):
        self.client, self.offer, self.response = client, offer, response
        self.url = urljoin(response.url, response.get("location") or "")
        self.etag = response.get("etag")
        self.answer = Description(response.text)

    def patch(self, body: str, if_match: str | None = "", kind: str = FRAGMENT) -> Response:
        """With this session's own entity tag, another, or (`None`) none."""
        tag = self.etag if if_match == "" else if_match
        headers = {"Content-Type": kind} | ({"If-Match": tag} if tag else {})
        return self.client.send("PATCH", self.url, headers, body)

    def delete(self, headers: dict | None = None) -> Response:
        return self.client.send("DELETE", self.url, headers)


class Target:
    """A WHEP endpoint."""

    def __init__(self, url: str, *, token: str | None = None, origin: str | None = None,
                 unknown: str | None = None, offline: str | None = None, patience: float = 30.0,
                 insecure: bool = False):
        self.url, self.token, self.origin, self.offline = url, token, origin, offline
        self.unknown = unknown or nobodys(url)
        self.patience = patience
        self.client = Client(token, patience, insecure)
        # What a real player saw; `None` where nobody looked (see media.py).
        self.seen: Callable[[], Any] | None = None
        self._open: list[Session] = []

    def post(self, body: str | bytes | None, kind: str | None = SDP, url: str | None = None) -> Response:
        """An offer, or what passes for one."""
        response = self.client.post(url or self.url, {"Content-Type": kind} if kind else {}, body)
        if response.status // 100 == 2 and response.get("location"):
            self._open.append(Session(self.client, Offer(), response))
        return response

    def open(self, offer: Offer | None = None) -> Session:
        """A session of one's own; skips the assertion where there is none."""
        offer = offer or Offer()
        response = self.post(str(offer))
        if response.status // 100 != 2:
            raise Skipped(f"no session: {response}")
        if not response.get("location"):
            raise Skipped("no session: the answer has no Location")
        return Session(self.client, offer, response)

    @cached_property
    def first(self) -> Session:
        """One session, for all who only look at how it was answered."""
        return self.open()

    @cached_property
    def trickled(self) -> Response:
        """What a right candidate is answered; skips where trickle ICE is not
        supported, which the document allows."""
        session = self.open()
        response = session.patch(session.offer.fragment(OTHER_CANDIDATE))
        if response.status in (405, 422, 501):
            raise Skipped(f"no trickle ICE: {response.status}")
        return response

    def close(self) -> None:
        """Ends every session that is still open."""
        for session in self._open:
            try:
                session.delete()
            except OSError:
                pass
        self._open.clear()


OTHER_CANDIDATE = "candidate:3471623853 1 udp 2122194687 192.0.2.2 61765 typ host generation 0"


def nobodys(url: str) -> str:
    """The same endpoint for a stream that nobody has: another value of the
    query if there is one (`?src=yard`), else another name in the path, which is
    the last word that is not the protocol's."""
    name = f"no-such-{secrets.token_hex(4)}"
    parts = urlsplit(url)
    if "=" in parts.query:
        return urlunsplit(parts._replace(query=re.sub(r"=[^&]*$", f"={name}", parts.query)))
    words = parts.path.split("/")
    for at in range(len(words) - 1, -1, -1):
        if words[at] and words[at].lower() not in ("whep", "endpoint", "play"):
            words[at] = name
            break
    return urlunsplit(parts._replace(path="/".join(words)))
