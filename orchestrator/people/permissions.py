"""Who sees people, and who cuts them off."""

from collections.abc import Collection

from django.db.models import QuerySet

from orchestrator import jwks
from orchestrator.actors import Actor, Identity, Role
from orchestrator.people.models import Person
from orchestrator.problems import Forbidden


def may_cut_off(actor: Actor) -> bool:
    """Operators."""
    return actor.has(Role.OPERATOR)


def visible(actor: Actor) -> QuerySet[Person]:
    """The people of the actor's tenant, for operators."""
    rows = Person.objects.all()
    return rows.filter(tenant=actor.tenant) if may_cut_off(actor) else rows.none()


def issuers_of(actor: Actor) -> list[str]:
    """Whose subjects an actor may cut off before they were ever seen: of issuers that may speak for its tenant."""
    return sorted(issuer.name for issuer in jwks.issuers().values() if issuer.may_assert(actor.tenant))


def insist_may_cut_off(actor: Actor, who: Identity) -> None:
    """Operators cut off others. Raises Forbidden."""
    if not may_cut_off(actor):
        raise Forbidden("Only an operator may cut somebody off, or restore them.")
    if who == actor.identity:
        raise Forbidden("You cannot cut yourself off: ask another operator.")


def insist_may_link(actor: Actor, identities: Collection[Identity]) -> None:
    """Check that an actor may link or unlink identities: operators, but not their own. Raises Forbidden.

    An operator who is an approver too could otherwise count as two people.
    """
    if not may_cut_off(actor):
        raise Forbidden("Only an operator may link or unlink identities.")
    if actor.identity in identities:
        raise Forbidden("You cannot link or unlink your own identities: ask another operator.")
