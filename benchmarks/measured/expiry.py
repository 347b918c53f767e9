"""Expiring sessions in a table of a million."""

from benchmarks.measured.databases import LARGE, owner, use
from benchmarks.measured.rounds import Figure, Variant, in_turn
from sessions_app.duties import EXPIRE_SESSIONS
from sessions_app.sweeping import sweep
from tests import seeding

DUE = 5_000
PROMISED = 3_000


def measure() -> list[Figure]:
    """Sessions a second, one sweep at a time."""
    use(LARGE)
    sweep(EXPIRE_SESSIONS)
    cost = in_turn({"a sweep": Variant(_expire, before=_fall_due)}, 1)["a sweep"]
    rate = DUE / cost.wall
    return [Figure("a sweep, in sessions a second", f"{rate:,.0f}", f"≥ {PROMISED:,}", is_kept=rate >= PROMISED)]


def _fall_due() -> None:
    with owner(LARGE) as filler:
        seeding.overdue(filler, DUE)


def _expire() -> None:
    outcome = sweep(EXPIRE_SESSIONS)
    assert (outcome.moved, outcome.poison) == (DUE, {})
