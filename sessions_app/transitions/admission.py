"""Refusing actors that are cut off, within the transaction in which they act."""

from collections.abc import Collection

from django.db import connection

from orchestrator.actors import Actor, Identity
from orchestrator.problems import Unauthenticated
from sessions_app.transitions.change import insist_on_boundary

# Stands for all links of a tenant among the locks on identities. No identity has an empty subject.
_LINKS = Identity("", "")


def admit(actor: Actor) -> None:
    """Take a shared lock on the actor's identities, and check that none of them is cut off.

    The lock settles the race with a cut-off, which takes it exclusively: either the cut-off waits and then undoes what
    this transaction did, or this transaction sees the cut-off. It comes before all row locks.

    Raises Unauthenticated.
    """
    insist_on_boundary()
    if not _asked("people_admit", actor.tenant, identities_of(actor)):
        raise Unauthenticated


def shut_out(tenant: str, identities: Collection[Identity]) -> None:
    """Take the exclusive lock on some identities until the transaction ends: wait for all that they are doing."""
    insist_on_boundary()
    _asked("people_hold", tenant, identities)


def hold_links(tenant: str, *, exclusively: bool = False) -> None:
    """Let the links of a tenant's identities stand still until the transaction ends. It comes before all other locks.

    A cut-off shares this lock; linking and unlinking take it exclusively. So a cut-off can lock all identities of one
    person in one order.
    """
    insist_on_boundary()
    _asked("people_hold" if exclusively else "people_admit", tenant, [_LINKS])


def identities_of(actor: Actor) -> list[Identity]:
    """Return the actor's identity and, where it acts for a person, that person's."""
    return [actor.identity, *([actor.on_behalf_of] if actor.on_behalf_of is not None else [])]


def _asked(function: str, tenant: str, identities: Collection[Identity]) -> bool:
    issuers, subjects = [one.issuer for one in identities], [one.subject for one in identities]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s, %s::text[], %s::text[])", [tenant, issuers, subjects])
        return bool(cursor.fetchone()[0])
