"""Each assertion about HTTP and SDP notices its fault, and no other one does."""

import unittest
from concurrent.futures import ProcessPoolExecutor
from urllib.parse import urljoin

from selftest.mock import ORIGIN, TOKEN, Mock
from suite.__main__ import run
from suite.checks import ALL
from suite.target import Target

# An ICE restart can only be refused wrongly by a server that refuses it.
ALSO = {"restart.refused": {"restart.supported"}, "restart.unsupported-422": {"restart.supported"}}
# Looked at only where the server refuses ICE restarts.
NOT_BY_DEFAULT = {"restart.refused", "restart.unsupported-422", "create.counter-offer"}
HTTP = [one for one in ALL if not one.id.startswith("media.")]


def outcomes(fault: str) -> dict[str, str]:
    """How each assertion goes with this fault planted."""
    # The one that waits for the server to lose patience takes that long each
    # time: it is run where it is meant, and where nothing is wrong.
    wanted = [one for one in HTTP if one.id != "refuse.slow" or fault in ("", one.id)]
    with Mock(fault) as url:
        target = Target(url, token=TOKEN, origin=ORIGIN, offline=urljoin(url, "/live/dark/whep"), patience=3.0)
        found = {one.id: (one.result, one.got) for one in run(target, wanted, with_media=False)}
    broken = {id_: got for id_, (result, got) in found.items() if result == "broken"}
    assert not broken, (fault, broken)
    return {id_: result for id_, (result, _) in found.items()}


class EachAssertion(unittest.TestCase):
    """See the module."""

    def test_a_server_without_fault_passes_them_all(self):
        found = outcomes("")
        wanted = {one.id: "skipped" if one.id in NOT_BY_DEFAULT else "passed" for one in HTTP}
        self.assertEqual(found, wanted)

    def test_each_fault_fails_its_assertion_and_no_other(self):
        with ProcessPoolExecutor() as side_by_side:
            all_found = dict(zip([one.id for one in HTTP], side_by_side.map(outcomes, [one.id for one in HTTP])))
        for id_, found in all_found.items():
            with self.subTest(fault=id_):
                failed = {one for one, result in found.items() if result == "failed"}
                self.assertEqual(failed, {id_} | ALSO.get(id_, set()))


if __name__ == "__main__":
    unittest.main()
