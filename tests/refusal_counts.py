"""Refusals that were repeated within a minute: counted, and not yet an event."""

from typing import Any
from uuid import UUID

from django.db.models import Q

from sessions_app.models import RefusalCount


def repeated(pk: UUID | str | None = None) -> list[RefusalCount]:
    """Return the counts, of one row or of all, each as often as its refusal was repeated."""
    rows = RefusalCount.objects.filter(Q() if pk is None else Q(subject_id=pk)).order_by("minute", "first_at")
    return [row for row in rows for _ in range(row.repeated)]


def a_minute_later() -> None:
    """Let the minute of every refusal be over, so that the next one like it is an event."""
    RefusalCount.objects.all().delete()


def changes(row: RefusalCount) -> dict[str, Any]:
    """Return what an event of the refusal would have as its changes."""
    return {"attempted": row.attempted, "version": row.version}
