"""Each assertion about media notices its fault, and no other one does."""

import logging
import unittest
from concurrent.futures import ProcessPoolExecutor

from selftest.mock import TOKEN
from suite.__main__ import run
from suite.checks import ALL
from suite.target import Target

MEDIA = [one for one in ALL if one.id.startswith("media.")]


def outcomes(fault: str) -> dict[str, tuple[str, str]]:
    """How each assertion goes with this fault planted."""
    from selftest.mock_media import MediaMock

    logging.disable()
    with MediaMock(fault) as url:
        target = Target(url, token=TOKEN, patience=6.0)
        return {one.id: (one.result, one.got) for one in run(target, MEDIA)}


class EachAssertion(unittest.TestCase):
    """See the module."""

    def test_each_fault_fails_its_assertion_and_no_other(self):
        faults = ["", *(one.id for one in MEDIA)]
        with ProcessPoolExecutor(8) as side_by_side:
            all_found = dict(zip(faults, side_by_side.map(outcomes, faults)))
        for id_, found in all_found.items():
            with self.subTest(fault=id_ or "none"):
                failed = {one: got for one, (result, got) in found.items() if result in ("failed", "broken")}
                self.assertEqual(set(failed), {id_} - {""}, failed)
        whole = {one: got for one, (result, got) in all_found[""].items() if result != "passed"}
        self.assertEqual(whole, {}, "a server without fault passes them all")


if __name__ == "__main__":
    unittest.main()
