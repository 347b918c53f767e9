"""Who made a request: where an operator reopened or replaced it, the requester of the first one of that line."""

from typing import NamedTuple

from django.db import connection

from orchestrator.actors import Actor, Identity
from sessions_app.models import Approval


class Requester(NamedTuple):
    """An identity, and the person on whose behalf it acted."""

    identity: Identity
    on_behalf_of: Identity | None

    @classmethod
    def of(cls, actor: Actor) -> "Requester":
        """Return the requester that an actor is."""
        return cls(actor.identity, actor.on_behalf_of)

    def columns(self) -> list[str | None]:
        """Return issuer and subject of both, as SQL takes them."""
        person = self.on_behalf_of
        behalf = [None, None] if person is None else [person.issuer, person.subject]
        return [self.identity.issuer, self.identity.subject, *behalf]


def first_requester(approval: Approval) -> Requester:
    """Return who made a request, or the first of the requests about the same subject that led to it.

    An operator who reopens or replaces a request does not become its requester: who may consume it stays the same.
    """
    if approval.reopens_id is None and approval.replaces_id is None:
        return Requester(approval.created_by, approval.on_behalf_of)
    with connection.cursor() as cursor:
        cursor.execute("SELECT issuer, subject, behalf_issuer, behalf_subject FROM work_requester(%s)", [approval.pk])
        issuer, subject, for_issuer, for_subject = cursor.fetchone()
    return Requester(Identity(issuer, subject), Identity.if_any(for_issuer, for_subject))
