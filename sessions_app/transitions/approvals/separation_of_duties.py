"""Who must not decide a request, and on which request a person's decision counts already.

The rules themselves are the SQL functions `work_barred` and `work_counted_on` (migration 0015), which the trigger on
decisions and the inbox call too.
"""

from typing import NamedTuple
from uuid import UUID

from django.db import connection

from orchestrator.actors import Actor, Identity, Kind
from sessions_app.models import Approval

NOT_A_PERSON = "Agents and service accounts decide nothing."

REASONS = {
    "requester": "You requested it yourself.",
    "requested-for": "It was requested on your behalf.",
    "holder": "You hold the task.",
    "held-for": "An agent holds the task on your behalf.",
    "former-holder": "You held the task before, or an agent held it on your behalf.",
    "creator": "You created the task, or the task that it repeats.",
    "created-for": "The task was created on your behalf.",
    "session-creator": "The session is yours, or was opened on your behalf.",
    "earlier-requester": "You requested the same before, or it was requested on your behalf.",
}
"""The sentence for each word that `work_barred` returns."""


_STANDING = """
SELECT work_barred(%s, me.issuers, me.subjects), work_counted_on(%s, me.issuers, me.subjects)
FROM (SELECT array_agg(issuer) AS issuers, array_agg(subject) AS subjects FROM people_same(%s, %s, %s)) AS me
"""


class Standing(NamedTuple):
    """How a person stands towards a request."""

    barred: str | None
    """Why they must not decide it."""
    counted_on: UUID | None
    """The request on which their decision counts already: this one, or another that the same task waits for."""


def standing(approval: Approval, actor: Actor) -> Standing:
    """Return how an actor stands towards a locked request; one query. Linked identities count as one person."""
    if actor.kind is not Kind.PERSON:
        return Standing(NOT_A_PERSON, None)
    word, counted_on = _asked(approval, actor.identity)
    return Standing(None if word is None else REASONS.get(word, "It is your own matter."), counted_on)


def is_barred(approval: Approval, who: Identity) -> bool:
    """Return whether a person, by any of their identities, must not decide a request."""
    word, _ = _asked(approval, who)
    return word is not None


def _asked(approval: Approval, who: Identity) -> tuple[str | None, UUID | None]:
    """Return the word for why a person must not decide, and the request on which their decision counts."""
    with connection.cursor() as cursor:
        cursor.execute(_STANDING, [approval.pk, approval.pk, approval.tenant, who.issuer, who.subject])
        word, counted_on = cursor.fetchone()
    return word, counted_on
