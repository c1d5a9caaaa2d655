"""POST: what a good offer gets."""

import math
import re
import string
from urllib.parse import urljoin, urlsplit

from .checks import EXTRA, MUST, SHOULD, Skipped, assertion, expect, need
from .sdp import Description, Offer
from .target import SDP, Target

SETUP = "WHEP, Playback Session Set Up"
PATCHING = "WHEP, HTTP PATCH Request Usage"
SECURITY = "WHEP, Security Considerations"


@assertion("create.status", MUST, SETUP, "a recvonly offer of every common codec is answered 201 Created")
def _(target: Target):
    answer = target.post(str(Offer()))
    need(answer.status not in (301, 302, 303), "redirected")
    expect(answer.status == 201, "201", answer)


@assertion("create.redirect", MUST, "WHEP, Load Balancing and Redirections", "a POST is never redirected by 301, 302 or 303")
def _(target: Target):
    answer = target.post(str(Offer()))
    expect(answer.status not in (301, 302, 303), "307, or no redirection", answer)


@assertion("create.location", MUST, SETUP, "the answer's Location is a URL under http(s), relative or absolute")
def _(target: Target):
    answer = target.post(str(Offer()))
    need(answer.status // 100 == 2, f"no session: {answer}")
    location = answer.get("location")
    expect(location, "a Location", answer.fields)
    url = urlsplit(urljoin(target.url, location))
    fine = url.scheme in ("http", "https") and url.netloc and url.path not in ("", "/")
    expect(fine and urljoin(target.url, location) != target.url, "a URL of its own", location)


@assertion("create.content-type", MUST, SETUP, "the answer's content type is application/sdp")
def _(target: Target):
    answer = target.first.response
    expect(answer.media_type == SDP, SDP, answer.get("content-type"))


@assertion("create.etag", MUST, PATCHING, "the answer has a strong entity tag (OPTIONAL where ICE restarts are not supported)")
def _(target: Target):
    answer = target.first.response
    tag = answer.get("etag")
    expect(tag and re.fullmatch(r'"[\x21\x23-\x7e\x80-\xff]+"', tag), 'ETag: "…" without W/', tag)


@assertion("create.etag-unique", MUST, PATCHING, "two sessions have two entity tags")
def _(target: Target):
    tags = need(target.first.etag, "no entity tag"), target.open().etag
    expect(tags[0] != tags[1], "two tags", tags)


@assertion("create.sessions", MUST, SETUP, "the same offer posted twice makes two sessions")
def _(target: Target):
    urls = target.first.url, target.open(target.first.offer).url
    expect(urls[0] != urls[1], "two URLs", urls)


@assertion("create.random-id", SHOULD, SECURITY, "session URLs have about 128 random bits (a UUID of version 4 will do)")
def _(target: Target):
    urls = [target.open().url for _ in range(16)]
    size = min(map(len, urls))
    # Characters that differ between sessions, each worth its alphabet.
    bits = 0.0
    for at in range(size):
        seen = {url[at] for url in urls}
        if len(seen) > 1:
            hexadecimal = seen <= set(string.hexdigits)
            # Few values in 16 draws: fewer than the alphabet could have.
            bits += min(math.log2(16 if hexadecimal else 62), 2 * math.log2(len(seen)))
    expect(bits >= 112, "112 bits or more that differ between 16 sessions", f"{bits:.0f} bits: {urls[:2]}")


@assertion("create.parameters", MUST, "RFC 9110, 8.3.1", "a content type in capitals, with a parameter, is application/sdp still")
def _(target: Target):
    need(target.first, "no session")
    answer = target.post(str(Offer()), "Application/SDP; charset=utf-8")
    expect(answer.status // 100 == 2, "2xx", answer)


@assertion("create.no-candidates", MUST, "WHEP, Trickle ICE", "an offer without candidates is answered too")
def _(target: Target):
    need(target.first, "no session")
    offer = Offer()
    offer.candidates = []
    answer = target.post(str(offer))
    expect(answer.status // 100 == 2, "2xx", answer)


@assertion("create.sendrecv", MUST, "WHEP, Media Direction Attributes", "an offer that says sendrecv is answered sendonly")
def _(target: Target):
    need(target.first, "no session")
    answer = target.post(str(Offer(direction="sendrecv")))
    expect(answer.status // 100 == 2, "2xx", answer)
    flags = [part.flags & {"sendonly", "recvonly", "sendrecv", "inactive"} for part in Description(answer.text).accepted]
    expect(all(found == {"sendonly"} for found in flags), "a=sendonly", flags)


def _setup(target: Target, offered: str, answered: str):
    need(target.first, "no session")
    offer = Offer()
    offer.setup = offered
    answer = target.post(str(offer))
    if answer.status // 100 == 4:
        return
    description = Description(answer.text)
    roles = {description.of(part, "setup") for part in description.accepted}
    expect(answer.status // 100 == 2 and roles <= {answered}, f"2xx {answered}, or 4xx", f"{answer.status} {roles}")


@assertion("create.setup-active", SHOULD, "RFC 9725, DTLS Setup Role", "an offer that says setup:active is answered passive, or refused")
def _(target: Target):
    _setup(target, "active", "passive")


@assertion("create.setup-passive", SHOULD, "RFC 8842, 5.3", "an offer that says setup:passive is answered active, or refused")
def _(target: Target):
    _setup(target, "passive", "active")


@assertion("create.link", MUST, "RFC 9725, STUN/TURN Server Configuration", "each Link of an ICE server is a stun or turn URI with quoted credentials")
def _(target: Target):
    links = [link for value in target.first.response.all("link") for link in re.split(r",\s*(?=<)", value)]
    links = [link for link in links if re.search(r';\s*rel="?ice-server"?', link)]
    need(links, "no ICE servers")
    uri = r"(stuns?|turns?):[^<>\s?]+(\?transport=\w+)?"
    parameter = r';\s*[\w-]+=("([^"\\]|\\.)*"|[\w-]+)'
    for link in links:
        expect(re.fullmatch(rf"<{uri}>({parameter})+", link), '<turn:…>; rel="ice-server"; username="…"; …', link)
        if link.startswith("<turn"):
            expect("username=" in link and "credential=" in link, "username and credential for TURN", link)


@assertion("create.extension-links", MUST, "WHEP, Protocol Extensions", "Link relations of extensions begin with urn:ietf:params:whep:ext")
def _(target: Target):
    relations = [rel for value in target.first.response.all("link") for rel in re.findall(r'rel="?(urn:[^";\s]+)', value)]
    need(relations, "no extensions")
    wrong = [rel for rel in relations if not rel.startswith("urn:ietf:params:whep:ext")]
    expect(not wrong, "urn:ietf:params:whep:ext…", wrong)


@assertion("create.no-store", EXTRA, "RFC 9111, 5.2.2.5", "no cache may keep the answer, which carries a password")
def _(target: Target):
    answer = target.first.response
    expect("no-store" in answer.words("cache-control"), "Cache-Control: no-store", answer.all("cache-control"))


def unplayable(target: Target):
    """What an offer of codecs that no source has is answered."""
    offer = Offer()
    offer.audio, offer.video = [(111, "x-nobodys/48000", "")], [(96, "X-NOBODYS/90000", "")]
    return target.post(str(offer))


@assertion("create.unplayable", MUST, SETUP, "an offer without any codec of the stream is refused, not answered without media")
def _(target: Target):
    answer = unplayable(target)
    expect(answer.status // 100 == 4, "4xx", answer)


@assertion("create.counter-offer", MUST, "WHEP, Server Sends Counter-Offer", "a 406 carries a counter-offer as application/sdp, and a Location")
def _(target: Target):
    answer = unplayable(target)
    need(answer.status == 406, f"no 406 but {answer.status}")
    expect(answer.media_type == SDP and answer.get("location"), f"{SDP} and a Location", answer)


@assertion("create.offline", SHOULD, "WHEP, Session Management", "a stream without a publisher is refused at once, with a Retry-After")
def _(target: Target):
    url = need(target.offline, "no --offline URL was given")
    answer = target.post(str(Offer()), url=url)
    if answer.status // 100 == 2:
        raise Skipped("the stream is live")
    fine = answer.status in (409, 502, 503) and (answer.get("retry-after") or "").isdigit()
    expect(fine, "409 (or 502, 503) with Retry-After", f"{answer}, Retry-After {answer.get('retry-after')}")
