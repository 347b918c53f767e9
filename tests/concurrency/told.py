"""What the trail tells of a row, or of all of a kind."""

from collections import Counter, defaultdict
from uuid import UUID

from sessions_app.models import Recorded
from tests.refusal_counts import repeated
from tests.work import Event, events


def words(row: Recorded) -> list[str]:
    """What its chain tells, first to last, without the noun."""
    found = events("subject_id = %s AND seq IS NOT NULL", row.pk)
    return [str(event["event_type"]).removeprefix(f"{row.NOUN}.") for event in found]


def refusals(row: Recorded) -> list[str]:
    """Why calls on it were refused, as far as that is remembered: each by an event, or counted as a repetition."""
    found = events("event_type = %s AND subject_id = %s", f"{row.NOUN}.refused", row.pk)
    return [str(event["reason"]) for event in found] + [count.reason for count in repeated(row.pk)]


def refusals_of_all(noun: str, tenant: str) -> dict[UUID, int]:
    """How many refused calls are remembered, by the row, of rows that are gone as well."""
    found = events("event_type = %s AND tenant = %s", f"{noun}.refused", tenant)
    again = [count.subject_id for count in repeated() if (count.subject_type, count.tenant) == (noun, tenant)]
    return dict(Counter([*(event["subject_id"] for event in found), *again]))


def chains_of(noun: str, tenant: str) -> dict[UUID, list[Event]]:
    """The chain of every row there is, and of every one there was."""
    told = defaultdict(list)
    for event in events("subject_type = %s AND seq IS NOT NULL AND tenant = %s", noun, tenant):
        told[event["subject_id"]].append(event)
    return told
