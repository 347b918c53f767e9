"""Measuring: variants in turn, call by call; the median of the rounds, each the median of its calls."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

ROUNDS = 12


@dataclass(frozen=True)
class Cost:
    """What one call takes, in seconds: by the clock on the wall, and of this process's processor time."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Variant:
    """Something to measure: a call, and what makes ready for it and is not timed."""

    call: Callable[[], object]
    before: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Figure:
    """A line of the table."""

    what: str
    value: str
    promise: str = ""
    is_kept: bool = True

    @property
    def verdict(self) -> str:
        """Whether the promise is kept, where there is one."""
        return ("kept" if self.is_kept else "NOT KEPT") if self.promise else ""


def in_turn(variants: Mapping[str, Variant], calls: int) -> dict[str, Cost]:
    """The median cost of each variant; a round calls each that often.

    Each turn begins with another, so that what the machine does beside us falls on all of them alike.
    """
    rounds: dict[str, list[Cost]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, cost in _round(variants, calls).items():
            rounds[name].append(cost)
    return {name: _median(costs) for name, costs in rounds.items()}


def _round(variants: Mapping[str, Variant], calls: int) -> dict[str, Cost]:
    costs: dict[str, list[Cost]] = {name: [] for name in variants}
    names = list(variants)
    for turn in range(calls):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            variants[name].before()
            costs[name].append(_one(variants[name].call))
    return {name: _median(each) for name, each in costs.items()}


def _one(call: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(median(cost.wall for cost in costs), median(cost.cpu for cost in costs))


def at_most(what: str, ratio: float, limit: float) -> Figure:
    """A ratio that is promised to stay within a limit."""
    return Figure(what, f"{ratio:.2f} ×", f"≤ {limit} ×", is_kept=ratio <= limit)


def multiples(costs: Mapping[str, Cost], of: str) -> list[Figure]:
    """What each takes, and what multiple of one of them that is."""
    least = costs[of].cpu
    return [
        Figure(what, f"{cost.wall * 1000:.2f} ms, {cost.cpu * 1e6:,.0f} µs of CPU ({cost.cpu / least:.1f} ×)")
        for what, cost in costs.items()
    ]
