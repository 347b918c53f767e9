"""How long things take, told so that other work on the machine does not decide.

What is promised is the service's own time, which its log has of each request: what a caller waited includes the queue
before the service and the caller's own turn on the processor. And it is the best of some rounds: other work spoils one
or another, while what the service itself does too slowly spoils them all.
"""

from collections.abc import Callable, Sequence
from statistics import quantiles
from typing import Any, TypeVar

from tests.faults.harness import Service

T = TypeVar("T")

ROUNDS = 3


def best_of(measure: Callable[[int], T], is_kept: Callable[[T], bool], rounds: int = ROUNDS) -> T:
    """What the first round that keeps a promise came to; the last one if none does. `measure` takes its number."""
    for n in range(rounds):
        measured = measure(n)
        if is_kept(measured):
            break
    return measured


def p95(seconds: Sequence[float]) -> float:
    """What 95 of a hundred stay below."""
    return quantiles(seconds, n=20)[-1]


def inside(lines: Sequence[dict[str, Any]]) -> list[float]:
    """How many seconds the requests of these lines took within the service, the quickest first."""
    return sorted(line["milliseconds"] / 1000 for line in lines)


def requests(service: Service, path: str, since: int = 0) -> list[dict[str, Any]]:
    """The lines of a service's log on this path, but for the first `since`."""
    return [line for line in service.logged() if line["path"] == path][since:]
