"""Arguments in, report out."""

import argparse
import json
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict

from . import answer, creation, ending, endpoint, ice, media, refusals  # noqa: F401, each adds its assertions
from .checks import ALL, MUST, Assertion, Outcome
from .target import Target

# Waits for the server's patience to end: begun first, looked at last.
SLOW = ("refuse.slow",)


def run(target: Target, wanted: list[Assertion], with_media: bool = True) -> list[Outcome]:
    """Checks `wanted` against a server, in their order."""
    with ThreadPoolExecutor(2) as beside:
        if with_media and any(one.id.startswith("media.") for one in wanted):
            target.seen = _looking(beside, target)
        slow = {one.id: beside.submit(one.check, target) for one in wanted if one.id in SLOW}
        quick = {one.id: one.check(target) for one in wanted if one.id not in SLOW and not one.id.startswith("media.")}
        late = {one.id: one.check(target) for one in wanted if one.id.startswith("media.")}
        outcomes = quick | late | {id_: future.result() for id_, future in slow.items()}
    target.close()
    return [outcomes[one.id] for one in wanted]


def _looking(beside: ThreadPoolExecutor, target: Target):
    try:
        from . import player
    except ImportError:
        return None
    future: Future = beside.submit(player.look, target)
    return future.result


def main() -> int:
    """Exit status 0 if the server conforms, 1 if not, 2 for a wrong argument."""
    parser = argparse.ArgumentParser(prog="tests/whep_conformance/run", description="Does this URL speak WHEP?")
    parser.add_argument("url", nargs="?", help="the WHEP endpoint of a live stream")
    parser.add_argument("--bearer", metavar="TOKEN", help="token sent with every request; also checks refusals without")
    parser.add_argument("--origin", help="an origin whose pages may read the answers; checks CORS")
    parser.add_argument("--unknown", metavar="URL", help="endpoint of a stream there is not; guessed from the URL")
    parser.add_argument("--offline", metavar="URL", help="endpoint of a stream that nobody publishes to")
    parser.add_argument("--only", metavar="PREFIX", action="append", help="only assertions whose id begins so; repeatable")
    parser.add_argument("--except", metavar="PREFIX", action="append", dest="without", help="all but these; repeatable")
    parser.add_argument("--strict", action="store_true", help="fail for SHOULD and EXTRA too")
    parser.add_argument("--known", metavar="FILE", help="ids known to fail, one a line: these alone may fail, and must (with `?`: may)")
    parser.add_argument("--no-media", action="store_true", help="HTTP and SDP only")
    parser.add_argument("--insecure", action="store_true", help="take any TLS certificate")
    parser.add_argument("--patience", type=float, default=30.0, metavar="S", help="longest wait for one thing (30)")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.add_argument("--list", action="store_true", help="list the assertions, and end")
    options = parser.parse_args()
    chosen = [one for one in ALL
              if (not options.only or one.id.startswith(tuple(options.only)))
              and not (options.without and one.id.startswith(tuple(options.without)))]
    if options.list:
        for one in chosen:
            print(f"{one.id:28} {one.level:6} {one.text}  [{one.clause}]")
        return 0
    if not options.url or not options.url.startswith(("http://", "https://")):
        parser.error("a URL that begins with http:// or https:// is needed")
    target = Target(options.url, token=options.bearer, origin=options.origin, unknown=options.unknown,
                    offline=options.offline, patience=options.patience, insecure=options.insecure)
    begun = time.monotonic()
    outcomes = run(target, chosen, not options.no_media)
    known, sometimes = read_known(options.known)
    failing = {one.id for one in outcomes if one.result == "failed" and (options.strict or one.level == MUST)}
    mended = (known - sometimes) & {one.id for one in outcomes if one.result == "passed"}
    broken = [one for one in outcomes if one.result == "broken"]
    report(options, outcomes, time.monotonic() - begun)
    if mended:
        print(f"passed, so no longer to be listed in {options.known}: {', '.join(sorted(mended))}", file=sys.stderr)
    if known and failing - known:
        print(f"failed, and not listed: {', '.join(sorted(failing - known))}", file=sys.stderr)
    return 1 if failing - known or mended or broken else 0


def read_known(path: str | None) -> tuple[set[str], set[str]]:
    """The ids in a file, and those of them that fail only sometimes: a `?`
    stands behind them. `#` begins a comment."""
    if not path:
        return set(), set()
    with open(path, encoding="utf-8") as file:
        lines = [words for line in file if (words := line.split("#")[0].split())]
    return {words[0] for words in lines}, {words[0] for words in lines if words[1:] == ["?"]}


def report(options: argparse.Namespace, outcomes: list[Outcome], seconds: float) -> None:
    """Says how it went, to people or programs."""
    counts = {kind: sum(one.result == kind for one in outcomes) for kind in ("passed", "failed", "skipped", "broken")}
    if options.json:
        document = {"url": options.url, "seconds": round(seconds, 1), **counts,
                    "assertions": [asdict(one) for one in outcomes]}
        json.dump(document, sys.stdout, indent=1)
        print()
        return
    for one in outcomes:
        if one.result == "passed":
            continue
        print(f"{one.result.upper():8} {one.id} ({one.level}; {one.clause}): {one.text}")
        if one.result == "failed":
            print(f"         expected: {one.expected}")
        print(f"         {'got' if one.result == 'failed' else 'since'}: {one.got}")
    print(", ".join(f"{count} {kind}" for kind, count in counts.items() if count or kind != "broken")
          + f", in {seconds:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
