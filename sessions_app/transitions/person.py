"""How people are cut off, restored and linked: each by an event of the person's chain."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from audit_app.trail import Action
from orchestrator.actors import Actor, Identity
from orchestrator.people.arriving import row_of
from orchestrator.people.models import Person
from orchestrator.problems import Forbidden, InvalidRequest
from sessions_app.models import Approval, Decision
from sessions_app.models.approval import ApprovalStatus
from sessions_app.models.decision import SetAside, Verdict
from sessions_app.transitions.admission import hold_links, shut_out
from sessions_app.transitions.approvals.decisions import set_aside
from sessions_app.transitions.approvals.separation_of_duties import is_barred
from sessions_app.transitions.approvals.subject import lock_with_subject
from sessions_app.transitions.change import insist_on_boundary
from sessions_app.transitions.cut_offs import Undone, undo, would_undo
from sessions_app.transitions.people_chain import begin, lock, record


@dataclass(frozen=True, slots=True)
class CutOff:
    """The person who was cut off, and what that undid."""

    person: Person
    undone: Undone


def cut_off(who: Identity, *, actor: Actor, reason: str) -> CutOff:
    """Refuse all further calls of this identity in the actor's tenant, and undo what is still open of theirs.

    All identities linked with it are cut off too. Calls are refused within 30 seconds; decisions, requests, claims and
    consumption at once. Their approvals of open requests are set aside. What they hold is released and their open
    requests are cancelled: 1,000 of each in this transaction, and the others by `finish_cut_off()`. An identity that is
    cut off already stays so, without an event.

    Raises Forbidden where the actor is one of these identities.
    """
    insist_on_boundary()
    hold_links(actor.tenant)
    identities = linked(actor.tenant, who)
    shut_out(actor.tenant, identities)
    if actor.identity in identities:
        raise Forbidden("You cannot cut yourself off: ask another operator.")
    cause: UUID | None = None
    for one in identities:
        cause = _set(one, Action.PERSON_CUT_OFF, active=False, actor=actor, reason=reason) or cause
    if cause is None and would_undo(actor.tenant, identities).anything:
        # Cut off by a version that undid nothing: this one does.
        person = row_of(who, actor.tenant)
        begin(person, actor=actor)
        cause = record(person, Action.PERSON_CUT_OFF, actor=actor, reason=reason)
    undone = Undone() if cause is None else undo(actor.tenant, identities, actor=actor, cause=cause)
    return CutOff(row_of(who, actor.tenant), undone)


def finish_cut_off(person: Person, *, actor: Actor) -> Undone:
    """Undo what a cut-off left of this person, up to 1,000 rows of each kind; nothing if the person was restored."""
    insist_on_boundary()
    hold_links(person.tenant)
    who = Identity(person.issuer, person.subject)
    identities = linked(person.tenant, who)
    shut_out(person.tenant, identities)
    if row_of(who, person.tenant).is_active:
        return Undone()
    return undo(person.tenant, identities, actor=actor, cause=None)


def consequences(who: Identity, *, actor: Actor) -> Undone:
    """Return what a cut-off of this identity, and of those linked with it, would undo now."""
    return would_undo(actor.tenant, linked(actor.tenant, who))


def restore(who: Identity, *, actor: Actor, reason: str) -> Person:
    """Accept calls of this identity in the actor's tenant again, within 30 seconds. What was undone stays undone."""
    insist_on_boundary()
    shut_out(actor.tenant, [who])
    _set(who, Action.PERSON_RESTORED, active=True, actor=actor, reason=reason)
    return row_of(who, actor.tenant)


def linked(tenant: str, who: Identity) -> list[Identity]:
    """Return all identities of one person, the given one included, in a fixed order."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT issuer, subject FROM people_same(%s, %s, %s) ORDER BY 1, 2", [tenant, *_pair(who)])
        return [Identity(issuer, subject) for issuer, subject in cursor.fetchall()]


def link(who: Identity, same_as: Identity, *, tenant: str, actor: Actor, reason: str) -> Person:
    """Record that two identities of a tenant belong to one person, so that they count as one in approvals.

    Approvals of open requests that would now count twice, or in the person's own matter, are set aside.

    Raises InvalidRequest where they are the same identity, `who` is linked with another person already, or one of them
    is cut off and the other is not; Forbidden where the actor is one of them.
    """
    insist_on_boundary()
    hold_links(tenant, exclusively=True)
    identities = {*linked(tenant, who), *linked(tenant, same_as)}
    shut_out(tenant, sorted(identities, key=_pair))
    _require_other(actor, identities)
    if who == same_as:
        raise InvalidRequest([("same_as", "These are the same identity.")])
    alias, main = row_of(who, tenant), row_of(same_as, tenant)
    main = main.alias_of or main
    if alias.alias_of_id == main.pk:
        return alias
    if alias.alias_of_id is not None or alias.aliases.exists():
        raise InvalidRequest([("identity", "It is linked with another person. Unlink it first.")])
    if alias.is_active is not main.is_active:
        raise InvalidRequest([("identity", "One of them is cut off. Cut off the other one too, or restore the first.")])
    begin(alias, actor=actor)
    alias.alias_of = main
    cause = record(alias, Action.PERSON_LINKED, actor=actor, reason=reason, more={"same_as": _named(main)})
    _set_aside_duplicates(tenant, linked(tenant, who), actor=actor, reason=reason, cause=cause)
    return alias


def unlink(who: Identity, *, tenant: str, actor: Actor, reason: str) -> Person:
    """Undo a link. Raises InvalidRequest where the identity is linked with no other person as its alias."""
    insist_on_boundary()
    hold_links(tenant, exclusively=True)
    identities = linked(tenant, who)
    shut_out(tenant, identities)
    _require_other(actor, identities)
    alias = row_of(who, tenant)
    if alias.alias_of is None:
        raise InvalidRequest([("identity", "It is no alias of another identity.")])
    begin(alias, actor=actor)
    main, alias.alias_of = alias.alias_of, None
    record(alias, Action.PERSON_UNLINKED, actor=actor, reason=reason, more={"same_as": _named(main)})
    return alias


def record_password_login(person: Person, *, actor: Actor) -> None:
    """Record a login with a password, which does not involve the identity provider."""
    _record_as_is(person, Action.PERSON_BROKE_GLASS, actor=actor)


def record_password_change(person: Person, *, actor: Actor) -> None:
    """Record a changed password of a login that does not involve the identity provider."""
    _record_as_is(person, Action.PERSON_PASSWORD_CHANGED, actor=actor)


def _require_other(actor: Actor, identities: Collection[Identity]) -> None:
    """Raise Forbidden where an actor links or unlinks its own identities: it could otherwise count as two people."""
    if actor.identity in identities:
        raise Forbidden("You cannot link or unlink your own identities: ask another operator.")


def _set_aside_duplicates(tenant: str, identities: list[Identity], *, actor: Actor, reason: str, cause: UUID) -> None:
    """Set aside, on each open request, all but the first approval of one person, and all in their own matter."""
    theirs = set(identities)
    rows = Approval.objects.filter(
        tenant=tenant,
        status=ApprovalStatus.PENDING,
        decisions__decider_subject__in=[one.subject for one in identities],
        decisions__set_aside_at=None,
    ).distinct()
    for row in sorted(rows, key=_locking_order):
        fresh = lock_with_subject(row).approval
        if fresh.status != ApprovalStatus.PENDING:
            continue
        decisions = [
            one
            for one in Decision.objects.filter(approval=fresh, set_aside_at=None, decision=Verdict.APPROVED)
            if one.decider in theirs
        ]
        decisions.sort(key=lambda one: (one.decided_at, one.pk))
        if not decisions:
            continue
        kept = 0 if is_barred(fresh, identities[0]) or _counts_elsewhere(fresh, theirs) else 1
        if surplus := decisions[kept:]:
            set_aside(fresh, surplus, SetAside.SAME_PERSON, actor=actor, reason=reason, cause=cause)


def _locking_order(row: Approval) -> tuple[bool, bool, str, UUID]:
    """Return a key that sorts requests by task, then by session, then those without either: as others lock them."""
    return row.task_id is None, row.session_id is None, str(row.task_id or row.session_id), row.pk


def _counts_elsewhere(approval: Approval, theirs: set[Identity]) -> bool:
    """Return whether one of these identities approved another request that the same task waits for."""
    if approval.task_id is None:
        return False
    others = Decision.objects.filter(
        set_aside_at=None,
        decision=Verdict.APPROVED,
        approval__task_id=approval.task_id,
        approval__blocks=True,
        approval__status__in=(ApprovalStatus.PENDING, ApprovalStatus.APPROVED),
    ).exclude(approval=approval)
    return approval.blocks and any(one.decider in theirs for one in others)


def _set(who: Identity, action: Action, *, active: bool, actor: Actor, reason: str) -> UUID | None:
    """Change whether a person is active. Return the event's id, or None where nothing changed."""
    person = row_of(who, actor.tenant)
    if person.is_active is active:
        return None
    begin(person, actor=actor)
    person.is_active = active
    return record(person, action, actor=actor, reason=reason)


def _record_as_is(person: Person, action: Action, *, actor: Actor) -> None:
    """Record an event that leaves the rights as they are."""
    lock(person)
    begin(person, actor=actor)
    record(person, action, actor=actor)


def _named(person: Person) -> dict[str, str]:
    return {"issuer": person.issuer, "subject": person.subject}


def _pair(who: Identity) -> tuple[str, str]:
    return who.issuer, who.subject
