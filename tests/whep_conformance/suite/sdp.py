"""Offers to send, and answers taken apart (RFC 8866, RFC 9429)."""

import base64
import secrets

# Everything a source may have, as Chromium and Safari together offer it: type,
# encoding, parameters. Feedback is what every browser asks for.
AUDIO = [(111, "opus/48000/2", "minptime=10;useinbandfec=1"), (9, "G722/8000", ""),
         (0, "PCMU/8000", ""), (8, "PCMA/8000", "")]
VIDEO = [(96, "VP8/90000", ""), (97, "rtx/90000", "apt=96"),
         (98, "VP9/90000", "profile-id=0"), (99, "rtx/90000", "apt=98"),
         (102, "H264/90000", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f"),
         (103, "rtx/90000", "apt=102"),
         (106, "H264/90000", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"),
         (107, "rtx/90000", "apt=106"),
         (112, "H264/90000", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f"),
         (113, "rtx/90000", "apt=112"),
         (45, "AV1/90000", "level-idx=5;profile=0;tier=0"), (46, "rtx/90000", "apt=45"),
         (49, "H265/90000", "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST"),
         (50, "rtx/90000", "apt=49")]
EXTENSIONS = {"audio": [(4, "urn:ietf:params:rtp-hdrext:sdes:mid")],
              "video": [(3, "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"),
                        (4, "urn:ietf:params:rtp-hdrext:sdes:mid")]}
# An address of the documentation's own network (RFC 5737): nobody is there.
CANDIDATE = "candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0"


def credentials() -> tuple[str, str]:
    """A fresh `ice-ufrag` and `ice-pwd`."""
    text = lambda size: base64.b64encode(secrets.token_bytes(size)).decode()
    return text(3), text(18)


class Offer:
    """A viewer's offer; the attributes may be changed before it is written."""

    def __init__(self, *kinds: str, direction: str = "recvonly"):
        self.kinds = kinds or ("audio", "video")
        self.direction = direction
        self.setup = "actpass"
        self.id = secrets.randbits(62)
        self.ufrag, self.password = credentials()
        digest = secrets.token_bytes(32)
        self.fingerprint = ":".join(f"{byte:02X}" for byte in digest)
        self.candidates = [CANDIDATE]
        self.video, self.audio = list(VIDEO), list(AUDIO)

    def _section(self, mid: int, kind: str) -> list[str]:
        if kind == "application":
            head = ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 0.0.0.0"]
            body = ["a=sctp-port:5000", "a=max-message-size:262144"]
        else:
            codecs = self.video if kind == "video" else self.audio
            types = " ".join(str(codec[0]) for codec in codecs)
            head = [f"m={kind} 9 UDP/TLS/RTP/SAVPF {types}", "c=IN IP4 0.0.0.0"]
            body = [f"a={self.direction}", "a=rtcp-mux", "a=rtcp-mux-only", "a=rtcp-rsize"]
            if self.direction in ("sendrecv", "sendonly"):
                body.append("a=msid:- 0a1b2c3d")
            body += [f"a=extmap:{number} {uri}" for number, uri in EXTENSIONS[kind]]
            for number, encoding, parameters in codecs:
                body.append(f"a=rtpmap:{number} {encoding}")
                if parameters:
                    body.append(f"a=fmtp:{number} {parameters}")
                if kind == "video" and not encoding.startswith("rtx"):
                    body += [f"a=rtcp-fb:{number} {what}" for what in ("nack", "nack pli", "ccm fir")]
        transport = [f"a=ice-ufrag:{self.ufrag}", f"a=ice-pwd:{self.password}", "a=ice-options:trickle",
                     f"a=fingerprint:sha-256 {self.fingerprint}", f"a=setup:{self.setup}", f"a=mid:{mid}"]
        # With max-bundle only the first section gathers (RFC 9429, 4.1.1).
        own = [f"a={candidate}" for candidate in self.candidates] if mid == 0 else []
        return head + transport + own + body

    def __str__(self) -> str:
        lines = ["v=0", f"o=- {self.id} 2 IN IP4 127.0.0.1", "s=-", "t=0 0"]
        lines.append("a=group:BUNDLE " + " ".join(str(mid) for mid in range(len(self.kinds))))
        for mid, kind in enumerate(self.kinds):
            lines += self._section(mid, kind)
        return "".join(f"{line}\r\n" for line in lines)

    def fragment(self, *lines: str, ufrag: str | None = None, password: str | None = None) -> str:
        """A trickle fragment (RFC 8840, 4.4) of the offerer-tagged section."""
        kind = self.kinds[0]
        text = ["a=ice-options:trickle", "a=group:BUNDLE " + " ".join(map(str, range(len(self.kinds)))),
                f"m={kind} 9 UDP/TLS/RTP/SAVPF 0", "a=mid:0",
                f"a=ice-ufrag:{ufrag or self.ufrag}", f"a=ice-pwd:{password or self.password}"]
        return "".join(f"{line}\r\n" for line in [*text, *(f"a={line}" for line in lines)])


class Part:
    """The session's part of a description, or one media section of it."""

    def __init__(self, media: str = ""):
        words = media.split()
        self.kind = words[0] if words else ""
        self.port = words[1] if len(words) > 1 else ""
        self.protocol = words[2] if len(words) > 2 else ""
        self.formats = words[3:]
        self.lines: list[str] = []

    @property
    def rejected(self) -> bool:
        """Port 0, and not merely bundled (RFC 9143, 7.3.3)."""
        return self.port == "0" and "bundle-only" not in self.flags

    @property
    def flags(self) -> set[str]:
        return {line[2:] for line in self.lines if line.startswith("a=") and ":" not in line}

    def all(self, name: str) -> list[str]:
        """Values of every `a=name:`."""
        return [line[len(name) + 3:] for line in self.lines if line.startswith(f"a={name}:")]

    def get(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)

    def encodings(self) -> dict[str, str]:
        """Payload type to encoding, both as written, encodings in lower case."""
        static = {"0": "pcmu/8000", "8": "pcma/8000", "9": "g722/8000"}
        named = dict(value.split(" ", 1) for value in self.all("rtpmap") if " " in value)
        named = {number: encoding.strip().lower().removesuffix("/1") for number, encoding in named.items()}
        return {number: named.get(number, static.get(number, "?")) for number in self.formats}


class Description:
    """An answer (or offer), leniently taken apart: what is wrong with it is for
    the assertions to say."""

    def __init__(self, text: str):
        self.text = text
        self.session = Part()
        self.media: list[Part] = []
        for line in text.replace("\r\n", "\n").split("\n"):
            if line.startswith("m="):
                self.media.append(Part(line[2:]))
            elif line:
                (self.media[-1] if self.media else self.session).lines.append(line)

    @property
    def accepted(self) -> list[Part]:
        return [part for part in self.media if not part.rejected]

    def of(self, part: Part, name: str) -> str | None:
        """An attribute that may stand in the section or before all."""
        return part.get(name) or self.session.get(name)

    @property
    def bundle(self) -> list[str]:
        groups = [group.split() for group in self.session.all("group")]
        return next((group[1:] for group in groups if group[:1] == ["BUNDLE"]), [])

    @property
    def candidates(self) -> list[str]:
        return [value for part in [self.session, *self.media] for value in part.all("candidate")]
