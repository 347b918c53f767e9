"""The filters of the lists: query parameters become conditions, or a 400 that names what is wrong."""

from collections.abc import Callable, Mapping
from typing import Any

from django.db.models import Q, TextChoices

from orchestrator import ids, parsing
from orchestrator.problems import InvalidJson, InvalidRequest
from sessions_app import moments
from sessions_app.models.approval import ApprovalStatus
from sessions_app.models.session import SessionStatus
from sessions_app.models.task import TaskStatus

METADATA = "metadata."
_MAX_DEPTH = 30
_MOST_BARS = 9


class Refused(ValueError):  # noqa: N818
    """Says what is wrong with a value."""


def statuses(known: type[TextChoices]) -> Callable[[str], Q]:
    """A comma list of states."""

    def read(text: str) -> Q:
        named = text.lower().split(",")
        if unknown := [name for name in named if name not in known.values]:
            raise Refused(f"There is no status {unknown[0]!r}.")
        return Q(status=named[0]) if len(named) == 1 else Q(status__in=named)

    return read


def equal(column: str) -> Callable[[str], Q]:
    """A text as it stands."""
    return lambda text: Q(**{column: text})


def identity(text: str) -> Q:
    """`<issuer>|<subject>`, as `created_by` is written. Either may have bars of its own: every reading counts."""
    parts = text.split("|")
    readings = [("|".join(parts[:at]), "|".join(parts[at:])) for at in range(1, min(len(parts), _MOST_BARS))]
    found = Q()
    for issuer, subject in readings:
        if issuer and subject:
            found |= Q(created_by_issuer=issuer, created_by_subject=subject)
    if not found:
        raise Refused("It must be <issuer>|<subject>.")
    return found


def uuid(column: str, noun: str = "") -> Callable[[str], Q]:
    """An id, in any case, with or without its noun before it."""

    def read(text: str) -> Q:
        found = ids.read(text, noun)
        if found is None:
            raise Refused("It must be a UUID.")
        return Q(**{column: found})

    return read


def moment(lookup: str) -> Callable[[str], Q]:
    """A date and time with its offset (RFC 3339, section 5.6)."""

    def read(text: str) -> Q:
        at = moments.read(text)
        if at is None:
            raise Refused("It must be a date and time with an offset, such as 2026-01-31T09:00:00Z.")
        return Q(**{f"created_at__{lookup}": at})

    return read


SESSION_FILTERS: Mapping[str, Callable[[str], Q]] = {
    "status": statuses(SessionStatus),
    "agent_role": equal("role"),
    "task_id": uuid("task_id", "task"),
    "created_by": identity,
    "created_after": moment("gte"),
    "created_before": moment("lt"),
}

TASK_FILTERS: Mapping[str, Callable[[str], Q]] = {
    "status": statuses(TaskStatus),
    "to_role": equal("to_role"),
    "target": equal("to_role"),
    "from_role": equal("from_role"),
    "task_type": equal("task_type"),
    "trace_id": equal("trace_id"),
    "created_by": identity,
    "created_after": moment("gte"),
    "created_before": moment("lt"),
}

APPROVAL_FILTERS: Mapping[str, Callable[[str], Q]] = {
    "status": statuses(ApprovalStatus),
    "approver_role": equal("approver_role"),
    "task_id": uuid("task_id", "task"),
    "created_by": identity,
    "created_after": moment("gte"),
    "created_before": moment("lt"),
}


def contained(path: str, text: str) -> Q:
    """Metadata with a value at a dotted path: as JSON, where the text is JSON, or as a text; either matches."""
    names = path.split(".")
    if not all(names) or len(names) > _MAX_DEPTH:
        raise Refused(f"The path must be up to {_MAX_DEPTH} names with dots between them.")
    condition = Q(metadata__contains=_nested(names, text))
    try:
        value = parsing.parse(text.encode())
    except InvalidJson:
        return condition
    return condition if value == text else condition | Q(metadata__contains=_nested(names, value))


def _nested(names: list[str], value: Any) -> Any:
    for name in reversed(names):
        value = {name: value}
    return value


def conditions(query: Mapping[str, str], known: Mapping[str, Callable[[str], Q]]) -> Q:
    """All filters of a query together. Raises InvalidRequest that names each parameter it cannot read."""
    found, errors = Q(), []
    for name, text in query.items():
        reader = known.get(name)
        try:
            if parsing.UNSTORABLE.search(name + text):
                raise Refused("It has a NUL character or a lone surrogate.")
            if reader is not None:
                found &= reader(text)
            elif name.startswith(METADATA):
                found &= contained(name.removeprefix(METADATA), text)
        except Refused as refusal:
            errors.append((name, str(refusal)))
    if errors:
        raise InvalidRequest(errors)
    return found
