"""What keeps the trail from being sealed or anchored, as the sealer last found it; and what verification last found.

The sealer is a process of its own, and the anchor lies where only that process reaches it. The rows of
`audit_sealer_state` are how the service's `/health` and `/metrics` know of its trouble.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from audit_app.models import SealerState
from orchestrator import boundary

SEALER = "sealer"
"""The part that compares and signs."""
ANCHOR = "anchor-file"
"""The part that writes the anchor."""
CHECKPOINT = "checkpoint-file"
"""The part that writes the checkpoint."""
VERIFICATION = "verification"
"""The last verification of the whole trail that was recorded."""
RECENT_VERIFICATION = "recent-verification"
"""The last verification of what came since a moment that was recorded."""
PARTS = (SEALER, ANCHOR, CHECKPOINT, VERIFICATION, RECENT_VERIFICATION)

_SAVE = """
INSERT INTO audit_sealer_state (part, problem, since)
VALUES (%(part)s, %(problem)s, CASE WHEN %(problem)s <> '' THEN clock_timestamp() END)
ON CONFLICT (part) DO UPDATE SET problem = excluded.problem,
  since = CASE WHEN excluded.problem <> '' THEN coalesce(audit_sealer_state.since, excluded.since) END
"""

log = logging.getLogger(__name__)


class SealingTrouble(Exception):  # noqa: N818  the operator has to act
    """Something that the operator has to know of: `problem` is its code, the text says what to do."""

    problem: str


class SealingStopped(SealingTrouble):
    """No seal is made until the operator has acted."""


class AnchorUnwritable(SealingTrouble):
    """Seals were made, and the anchor does not have them. The next round tries again."""

    problem = "anchor-unwritable"


@contextmanager
def recorded(part: str) -> Iterator[None]:
    """Record the trouble that ends the block, or that there is none, and let it go on. Not inside a transaction."""
    try:
        yield
    except SealingTrouble as trouble:
        record(part, trouble.problem, str(trouble))
        raise
    record(part, "", "")


def record(part: str, problem: str, why: str) -> None:
    """Record the trouble of a part, or none where `problem` is empty, and log the change. Not inside a transaction."""
    if not _save(part, problem):
        return
    if problem:
        log.error("sealing: %s", problem, extra={"part": part, "why": why})
    else:
        log.warning("sealing: in order again", extra={"part": part})


def troubles() -> dict[str, SealerState]:
    """Return the parts that are in trouble, by their names."""
    return {state.part: state for state in SealerState.objects.exclude(problem="")}


def _save(part: str, problem: str) -> bool:
    """Save a part's state where it differs from the saved one; whether it did. A part without a row had no trouble."""

    def known() -> str:
        return SealerState.objects.filter(part=part).values_list("problem", flat=True).first() or ""

    if boundary.read(known) == problem:
        return False
    boundary.write(lambda: connection.cursor().execute(_SAVE, {"part": part, "problem": problem}))
    return True
