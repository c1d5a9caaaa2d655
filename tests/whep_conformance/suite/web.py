"""HTTP as WHEP needs it: nothing followed, decoded or retried behind our back."""

import http.client
import ssl
import time
from functools import cached_property
from urllib.parse import urljoin, urlsplit


class Response:
    """One answer, with header fields as they came."""

    def __init__(self, status: int, fields: list[tuple[str, str]], body: bytes, url: str):
        self.status, self.fields, self.body, self.url = status, fields, body, url

    def get(self, name: str) -> str | None:
        """The first field of that name."""
        return next(iter(self.all(name)), None)

    def all(self, name: str) -> list[str]:
        """Every field of that name."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def words(self, name: str) -> set[str]:
        """The comma-separated words of all fields of that name, in lower case."""
        return {w.strip().lower() for value in self.all(name) for w in value.split(",") if w.strip()}

    @property
    def media_type(self) -> str:
        """`Content-Type` without parameters, in lower case."""
        return (self.get("content-type") or "").split(";")[0].strip().lower()

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def __str__(self) -> str:
        body = f", {self.text[:160]!r}" if self.body else ""
        return f"{self.status} {self.get('content-type') or 'without content type'}{body}"


class Client:
    """Sends requests, each on a connection of its own unless told otherwise."""

    def __init__(self, token: str | None, patience: float, insecure: bool = False):
        self.token, self.patience = token, patience
        self._insecure = insecure

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        # Takes 10 ms: not for plain HTTP.
        return ssl._create_unverified_context() if self._insecure else ssl.create_default_context()

    def connect(self, url: str) -> http.client.HTTPConnection:
        """A connection to the host of `url`."""
        parts = urlsplit(url)
        if parts.scheme == "https":
            return http.client.HTTPSConnection(parts.netloc, timeout=self.patience, context=self._tls)
        return http.client.HTTPConnection(parts.netloc, timeout=self.patience)

    def send(self, method: str, url: str, headers: dict | None = None, body: str | bytes | None = None,
             on: http.client.HTTPConnection | None = None, token: bool = True) -> Response:
        """One request, one answer."""
        connection = on or self.connect(url)
        headers = dict(headers or {})
        if self.token and token and "Authorization" not in headers:
            headers["Authorization"] = f"Bearer {self.token}"
        body = body.encode() if isinstance(body, str) else body
        try:
            connection.request(method, path_of(url), body, headers)
            answer = connection.getresponse()
            return Response(answer.status, answer.getheaders(), answer.read(), url)
        except http.client.HTTPException as error:
            raise OSError(f"not HTTP: {error!r}") from error
        finally:
            if on is None:
                connection.close()

    def post(self, url: str, headers: dict, body: str | bytes | None, **more) -> Response:
        """A POST that follows 307 and 308, as WHEP players SHALL."""
        for _ in range(5):
            answer = self.send("POST", url, headers, body, **more)
            location = answer.get("location")
            if answer.status not in (307, 308) or not location:
                break
            url = urljoin(url, location)
        return answer

    def trickle_in(self, url: str, headers: dict, body: bytes, promised: int) -> tuple[float, Response | None]:
        """Sends `body` of a POST that promised more, and waits. Seconds until
        the server did something about it, and what, if it was an answer."""
        connection = self.connect(url)
        if self.token:
            headers = {**headers, "Authorization": f"Bearer {self.token}"}
        begun = time.monotonic()
        try:
            connection.putrequest("POST", path_of(url))
            for name, value in {**headers, "Content-Length": str(promised)}.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            response = Response(answer.status, answer.getheaders(), answer.read(), url)
            return time.monotonic() - begun, response
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException):
            return time.monotonic() - begun, None
        finally:
            connection.close()


def path_of(url: str) -> str:
    """Path and query, as a request line has them."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
