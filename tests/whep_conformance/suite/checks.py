"""What an assertion is, the list of them all, and how one is run."""

import time
from dataclasses import dataclass, field
from typing import Any, Callable

# The document says MUST, MUST NOT, SHALL, REQUIRED.
MUST = "MUST"
# The document says SHOULD, RECOMMENDED.
SHOULD = "SHOULD"
# No document says it; viewers are better off with it.
EXTRA = "EXTRA"


class Failed(Exception):
    """The server did something else."""

    def __init__(self, expected: str, got: Any):
        super().__init__(expected)
        self.expected, self.got = expected, str(got)[:500]


class Skipped(Exception):
    """Nothing to look at: an option that was not given, a feature the document
    leaves open, or a fault that another assertion reports."""


def expect(condition: Any, expected: str, got: Any) -> None:
    """Fails the running assertion unless `condition` holds."""
    if not condition:
        raise Failed(expected, got)


def need(value: Any, why: str) -> Any:
    """Skips the running assertion unless there is a `value`; returns it."""
    if not value:
        raise Skipped(why)
    return value


@dataclass
class Outcome:
    """How one assertion went."""

    id: str
    level: str
    clause: str
    text: str
    # "passed", "failed", "skipped" or "broken" (a fault of the suite).
    result: str = "passed"
    expected: str = ""
    got: str = ""
    seconds: float = 0.0


@dataclass
class Assertion:
    """One sentence about a server that can be false."""

    id: str
    level: str
    clause: str
    text: str
    run: Callable[[Any], None] = field(repr=False)

    def check(self, target: Any) -> Outcome:
        """Runs it. Never raises."""
        outcome = Outcome(self.id, self.level, self.clause, self.text)
        begun = time.monotonic()
        try:
            self.run(target)
        except Failed as failed:
            outcome.result, outcome.expected, outcome.got = "failed", failed.expected, failed.got
        except Skipped as skipped:
            outcome.result, outcome.got = "skipped", str(skipped)
        except OSError as error:
            # Refused, reset or timed out: the server's doing.
            outcome.result, outcome.expected = "failed", "an answer"
            outcome.got = f"{type(error).__name__}: {error}"
        except Exception as error:  # pylint: disable=broad-except
            outcome.result, outcome.got = "broken", f"{type(error).__name__}: {error}"
        outcome.seconds = round(time.monotonic() - begun, 3)
        return outcome


ALL: list[Assertion] = []


def assertion(id_: str, level: str, clause: str, text: str):
    """Adds the function below it to the list."""

    def add(run: Callable[[Any], None]) -> Callable[[Any], None]:
        assert all(known.id != id_ for known in ALL), id_
        ALL.append(Assertion(id_, level, clause, text, run))
        return run

    return add
