"""What happened to a row, as a table."""

from typing import Any

from django.urls import reverse

from audit_app import permissions as trail
from orchestrator.actors import Actor
from orchestrator.admin.showing import identity, moment, table
from sessions_app.models import Recorded

_HEADERS = ("No.", "When (UTC)", "What", "From → to", "Who", "Via", "Reason")


def timeline(row: Recorded, *, actor: Actor) -> dict[str, Any]:
    """The newest events for the page's template, the newest first, if this actor may read the trail."""
    if not trail.may_read(actor):
        return {"may_read_trail": False}
    return {
        "may_read_trail": True,
        "timeline": table(_HEADERS, trail.about(row.NOUN, row.pk, actor), _cells),
        "events_page": f"{reverse('admin:audit_app_auditevent_changelist')}?q={row.pk}",
    }


def _cells(event: Any) -> list[str]:
    moved = f"{event.from_status or '–'} → {event.to_status or '–'}"
    who = identity(event.actor_issuer, event.actor_subject)
    if event.on_behalf_of_subject:
        who += f" for {identity(event.on_behalf_of_issuer, event.on_behalf_of_subject)}"
    return [str(event.seq), moment(event.timestamp), event.event_type, moved, who, event.via, event.reason or "–"]
