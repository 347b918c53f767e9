"""Making sessions and tasks through the production transitions, and looking at what a call leaves of them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings

from audit_app.models import AuditEvent
from audit_app.trail import Action
from orchestrator import boundary
from orchestrator.actors import Actor, Identity, Kind, Origin, Role, Via
from orchestrator.clock import database_now
from sessions_app.models import Recorded, Session, Task
from sessions_app.transitions import session as transitions
from sessions_app.transitions.change import create
from tests.refusal_counts import changes, repeated

STATES = ("pending", "active", "completed", "failed", "expired")
LEGAL = {
    "pending": ["active", "expired"],
    "active": ["completed", "failed", "expired"],
    "completed": [],
    "failed": [],
    "expired": [],
}
TERMINAL = ("completed", "failed", "expired")
UNKNOWN_ID = "0197a3f0-0000-7000-8000-000000000000"
WEEK = timedelta(days=7)

_DIGITS = UNKNOWN_ID.replace("-", "")
NO_UUIDS = (
    "1",
    "session",
    "not.a.uuid",
    _DIGITS,
    UNKNOWN_ID[:-1],
    UNKNOWN_ID + "0",
    UNKNOWN_ID[:-1] + "g",
    f"urn:uuid:{UNKNOWN_ID}",
    # As long as a UUID, and Python's own reading of one would take them.
    f"urn:{_DIGITS}",
    f"----{_DIGITS}",
    UNKNOWN_ID.replace("-", "", 1) + "-",
    UNKNOWN_ID.replace("0197", "0_97"),
    UNKNOWN_ID.replace("0197", "٠197"),
)
"""What is not an id: 32 hexadecimal digits in five groups are."""

_PATHS = {
    "pending": (),
    "active": ("active",),
    "completed": ("active", "completed"),
    "failed": ("active", "failed"),
    "expired": ("expired",),
}


def somebody(subject: str = "alice", *, tenant: str = "default", agent_roles: tuple[str, ...] = ("finance",)) -> Actor:
    """An agent as the transitions know one: the same person as a token for that subject."""
    return Actor(
        identity=Identity(settings.LOCAL_ISSUER, subject),
        tenant=tenant,
        kind=Kind.PERSON,
        origin=Origin(Via.API),
        roles=frozenset({Role.AGENT}),
        agent_roles=frozenset(agent_roles),
        client=settings.LOCAL_CLIENT,
    )


def session_in(state: str, actor: Actor | None = None) -> Session:
    """A session of the role finance, brought to a state by legal moves."""
    return _brought_to(state, WEEK, actor or somebody())


def overdue_session(state: str) -> Session:
    """The same, its time over."""
    return _brought_to(state, timedelta(seconds=-1), somebody())


def _brought_to(state: str, lasting: timedelta, actor: Actor) -> Session:
    opening = partial(transitions.open_session, actor=actor, role="finance", task=None, metadata={"quarter": "Q4"})
    session = boundary.write(partial(opening, lasting=WEEK if _PATHS[state] else lasting))
    for step in _PATHS[state]:
        until = lasting if step == state else WEEK
        session = boundary.write(partial(transitions.amend, session, actor=actor, status=step, lasting=until))
    return session


def task_for(role: str, actor: Actor | None = None) -> Task:
    """A task routed to a role; alice made it where no one else is named."""
    task = Task(task_type="routing", from_role="manager", to_role=role)
    maker = actor or somebody()
    return boundary.write(lambda: create(task, Action.TASK_CREATED, at=database_now(), actor=maker))


def path(session: Session | dict[str, Any]) -> str:
    """Where a session is found."""
    return f"/sessions/{session['session_id'] if isinstance(session, dict) else session.id}"


def stored(pk: UUID | str | None, model: type[Recorded] = Session) -> dict[str, Any]:
    """Every column of a row, of a session unless told otherwise, as the database has it."""
    return dict(model._default_manager.filter(pk__in=[pk]).values().get())


def events_of(pk: UUID | str | None) -> list[AuditEvent]:
    """The events of a row, first to last; then what was refused, in the order in which it was."""
    return list(AuditEvent.objects.filter(subject_id=pk).order_by("seq", "timestamp"))


def last_event(pk: UUID | str | None) -> AuditEvent:
    """The event that led to the row as it is."""
    return next(event for event in reversed(events_of(pk)) if event.seq is not None)


@contextmanager
def unchanged(pk: UUID | str | None, model: type[Recorded] = Session) -> Iterator[None]:
    """Fails if the block leaves another row or another event."""
    with _as_it_was(pk, model) as added:
        yield
    assert not added, f"recorded: {added}"


@contextmanager
def only_refused(pk: UUID | str, attempted: str, *, times: int = 1, model: type[Recorded] = Session) -> Iterator[None]:
    """Fails if the block leaves another row, or any event but that this was attempted and forbidden, so many times."""
    with _as_it_was(pk, model) as added:
        yield
    said = {"attempted": attempted, "version": stored(pk, model)["version"]}
    assert added == [(f"{model.NOUN}.refused", None, "forbidden", said)] * times, f"recorded: {added}"


def left_by(status: int, pk: UUID | str, attempted: str, *, times: int = 1) -> AbstractContextManager[None]:
    """What an answer of this status may leave: a 403 that it was attempted, any other refusal nothing."""
    return only_refused(pk, attempted, times=times) if status == 403 else unchanged(pk)


@contextmanager
def _as_it_was(pk: UUID | str | None, model: type[Recorded]) -> Iterator[list[tuple[Any, ...]]]:
    """Fails if the block leaves another row; afterwards what is yielded holds the events that it left."""
    row, known = stored(pk, model), {event.id for event in events_of(pk)}
    counted = len(repeated(pk))
    added: list[tuple[Any, ...]] = []
    yield added
    moved = {name: value for name, value in stored(pk, model).items() if value != row[name]}
    assert not moved, f"changed: {moved}"
    left = [event for event in events_of(pk) if event.id not in known]
    added += [(event.event_type, event.seq, event.reason, event.metadata["changes"]) for event in left]
    added += [(again.event_type, None, again.reason, changes(again)) for again in repeated(pk)[counted:]]
