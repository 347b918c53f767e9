"""The filters of the trail."""

from collections.abc import Mapping

from django.db.models import Q

from audit_app.trail import Action
from orchestrator.filters import Reader, Refused, equal, identity, moment, uuid

SUBJECTS = ("session", "task", "approval", "person")


def _subject_type(text: str) -> Q:
    if text not in SUBJECTS:
        raise Refused(f"It must be one of {', '.join(SUBJECTS)}.")
    return Q(subject_type=text)


def _event_types(text: str) -> Q:
    """One or more, with commas between them; a repeated one counts once."""
    named = list(dict.fromkeys(text.split(",")))
    if unknown := [name for name in named if name not in {str(action) for action in Action}]:
        raise Refused(f"There is no event type {unknown[0]!r}.")
    return Q(event_type__in=named)


def _subject_id(text: str) -> Q:
    """Of whatever kind it is: every kind is named, since the index of the chains begins with it.

    With its noun before it, of that kind alone.
    """
    noun = text.partition("-")[0].lower()
    if noun in SUBJECTS:
        return Q(subject_type=noun) & uuid("subject_id", noun)(text)
    return Q(subject_type__in=SUBJECTS) & uuid("subject_id")(text)


EVENT_FILTERS: Mapping[str, Reader] = {
    "subject_type": _subject_type,
    "subject_id": _subject_id,
    "event_type": _event_types,
    "actor": identity("actor"),
    "trace_id": equal("trace_id"),
    "request_id": equal("request_id"),
    "after": moment("timestamp__gte"),
    "before": moment("timestamp__lt"),
}
