"""How people find events: by what has an index anywhere, by anything else among the newest.

A trail grows without end, and only what the API needs has an index. A role, a way in or a value in the metadata would
be looked for in every event there is: so the admin looks for them in as many as take no time.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from audit_app.models import AuditEvent
from audit_app.trail import Action
from orchestrator import parsing
from orchestrator.names import normal
from orchestrator.problems import InvalidJson

NEWEST = 50_000
"""How many events are looked through where there is no index."""

_MAX_DEPTH = 30
_NOUNS = sorted({action.split(".")[0] for action in Action})


def edge(rows: QuerySet[AuditEvent]) -> datetime | None:
    """The time of the oldest among the newest of these rows; None where there are no more than those."""
    times = rows.order_by("-timestamp").values_list("timestamp", flat=True)
    return times[NEWEST - 1 : NEWEST].first()


def by_id(pk: UUID, text: str) -> Q:
    """An event, the events of a subject, or those of a trace."""
    return Q(pk=pk) | Q(subject_type__in=_NOUNS, subject_id=pk) | Q(trace_id=text)


def by_word(word: str, newest: Q) -> Q:
    """The events of a trace, or those among the newest of a role or with a value (`key=value`) in their metadata."""
    key, equals, value = word.partition("=")
    if not equals:
        return Q(trace_id=word) | (Q(role=normal(word)) & newest)
    names = key.split(".")
    if not all(names) or len(names) > _MAX_DEPTH:
        return Q(pk__in=())
    found = Q()
    for document in _documents(names, value):
        found |= Q(metadata__contains=document) | Q(metadata__contains={"changes": document})
    return found & newest


def _documents(path: Sequence[str], text: str) -> Iterator[Any]:
    """What holds that value at that path: as a text, and as the JSON that the text may be."""
    values: list[Any] = [text]
    with suppress(InvalidJson):
        values.append(parsing.parse(text.encode()))
    for value in values:
        document = value
        for name in reversed(path):
            document = {name: document}
        yield document
