"""Events of other systems: they stand outside every chain, and are sealed along with the rest."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from audit_app import trail
from audit_app.trail import Action, Event
from orchestrator.actors import Actor
from orchestrator.clock import database_now


def ingest(said: Mapping[str, Any], *, trace_id: str | None, actor: Actor) -> Event:
    """Keep what another system says. In a write boundary only.

    What in it is longer than 1 KiB is kept as its SHA-256 and its length, as everywhere in the trail.
    """
    teller = actor if trace_id is None else actor.through(replace(actor.origin, trace_id=trace_id))
    event = Event(
        action=Action.EXTERNAL_RECORDED, tenant=actor.tenant, actor=teller, at=database_now(), changes=_json(said)
    )
    trail.record(trail.link(event))
    return event


def _json(said: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON has it: a moment is a text."""
    return {name: trail.instant(value) if isinstance(value, datetime) else value for name, value in said.items()}
