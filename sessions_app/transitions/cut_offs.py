"""What a cut-off undoes: leases are released, approvals of open requests set aside, and own open requests cancelled."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.db import connection
from django.db.models import BooleanField, Q, QuerySet
from django.db.models.expressions import RawSQL

from audit_app.trail import Action
from orchestrator.actors import Actor, Identity
from orchestrator.clock import database_now
from sessions_app.models import Approval, Decision, Session, Task
from sessions_app.models.approval import ApprovalStatus
from sessions_app.models.attempt import AttemptOutcome
from sessions_app.models.decision import SetAside, Verdict
from sessions_app.models.task import TaskStatus
from sessions_app.transitions import attempts, handing_back
from sessions_app.transitions.approvals.task_effects import settle_many
from sessions_app.transitions.batch import change_many
from sessions_app.transitions.ending import close_approvals, count_settled
from sessions_app.transitions.handing_back import Move, fail_with

REASON = "cut-off"
MOST = 1_000
"""How many tasks a person's cut-off releases in one transaction, and how many requests it cancels.

Approvals are all set aside at once: one that is left would count. A person approves no faster than they read.
"""
_BATCH = 1_000


@dataclass(slots=True)
class Undone:
    """The tasks released, the requests on which approvals were set aside, and the requests cancelled, by their ids.

    At most MOST are released, and at most MOST cancelled.
    """

    released: list[UUID] = field(default_factory=list)
    set_aside: list[UUID] = field(default_factory=list)
    cancelled: list[UUID] = field(default_factory=list)

    @property
    def anything(self) -> bool:
        """Whether anything was or would be undone."""
        return bool(self.released or self.set_aside or self.cancelled)

    @property
    def may_leave_some(self) -> bool:
        """Whether more may be left to undo."""
        return MOST in (len(self.released), len(self.cancelled))


def would_undo(tenant: str, identities: Collection[Identity]) -> Undone:
    """Return what one transaction of a cut-off of these identities would undo now; three queries."""
    return Undone(
        released=list(_held(tenant, identities).values_list("pk", flat=True)[:MOST]),
        set_aside=list(_decided(tenant, identities).values_list("approval_id", flat=True).distinct()),
        cancelled=list(_requested(tenant, identities).values_list("pk", flat=True)[:MOST]),
    )


def undo(tenant: str, identities: Collection[Identity], *, actor: Actor, cause: UUID | None) -> Undone:
    """Undo what these identities hold, approved and requested; up to MOST of what they hold and requested.

    The caller holds them exclusively (`admission.shut_out()`), so nothing is added. All tasks, then all sessions, then
    all approvals are locked first, in the order of their ids, and waited for: none is skipped.
    """
    due = would_undo(tenant, identities)
    requests = {*due.set_aside, *due.cancelled}
    tasks, sessions = set(due.released), set[UUID]()
    for some in _batches(requests):
        for task, session in Approval.objects.filter(pk__in=some).values_list("task_id", "session_id"):
            tasks |= {task} if task else set()
            sessions |= {session} if session else set()
    for model, pks in ((Task, tasks), (Session, sessions), (Approval, requests)):
        for some in _batches(pks):
            _lock(model, some)
    undone = Undone()
    for some in _batches(due.set_aside):
        undone.set_aside += _set_aside(tenant, identities, some, actor=actor, cause=cause)
    if due.cancelled:
        undone.cancelled = _cancel(tenant, identities, due.cancelled, actor=actor, cause=cause)
    if due.released:
        undone.released = _release(tenant, identities, due.released, actor=actor, cause=cause)
    return undone


def _any(prefix: str, identities: Collection[Identity]) -> Q:
    """Return the condition that the columns `<prefix>_issuer` and `<prefix>_subject` are one of these identities."""
    condition = Q(pk__in=[])
    for one in identities:
        condition |= Q(**{f"{prefix}_issuer": one.issuer, f"{prefix}_subject": one.subject})
    return condition


def _held(tenant: str, identities: Collection[Identity]) -> QuerySet[Task]:
    by = _any("lease", identities) | _any("lease_for", identities)
    return Task.objects.filter(by, tenant=tenant, status=TaskStatus.ACTIVE).order_by("pk")


def _decided(tenant: str, identities: Collection[Identity]) -> QuerySet[Decision]:
    return Decision.objects.filter(
        _any("decider", identities),
        set_aside_at=None,
        decision=Verdict.APPROVED,
        approval__tenant=tenant,
        approval__status=ApprovalStatus.PENDING,
    ).order_by("approval_id")


def _requested(tenant: str, identities: Collection[Identity]) -> QuerySet[Approval]:
    """Return the open requests of these identities, and those by which an operator reopened or replaced them."""
    by = _any("created_by", identities) | _any("on_behalf_of", identities)
    theirs = RawSQL(
        "EXISTS (SELECT FROM work_requester(approvals.id) r JOIN unnest(%s::text[], %s::text[]) AS who(issuer, subject)"
        " ON (who.issuer, who.subject) IN ((r.issuer, r.subject), (r.behalf_issuer, r.behalf_subject)))",
        [[one.issuer for one in identities], [one.subject for one in identities]],
        BooleanField(),
    )
    first = Q(reopens=None, replaces=None)
    return Approval.objects.filter(
        (first & by) | (~first & theirs), tenant=tenant, status=ApprovalStatus.PENDING
    ).order_by("pk")


def _batches(pks: Collection[UUID]) -> list[Sequence[UUID]]:
    ordered = sorted(pks)
    return [ordered[at : at + _BATCH] for at in range(0, len(ordered), _BATCH)]


def _lock(model: type[Task | Session | Approval], pks: Sequence[UUID]) -> None:
    list(model._default_manager.filter(pk__in=pks).order_by("pk").select_for_update(no_key=True).values_list("pk"))


def _set_aside(
    tenant: str, identities: Collection[Identity], pks: Sequence[UUID], *, actor: Actor, cause: UUID | None
) -> list[UUID]:
    people: dict[UUID, list[dict[str, str]]] = {}
    due = list(_decided(tenant, identities).filter(approval_id__in=pks).order_by("decided_at", "pk"))
    for one in due:
        people.setdefault(one.approval_id, []).append({"issuer": one.decider_issuer, "subject": one.decider_subject})
    rows = Approval.objects.filter(pk__in=people, status=ApprovalStatus.PENDING).order_by("pk")
    with change_many(
        rows,
        Action.APPROVAL_DECISION_SET_ASIDE,
        actor=actor,
        reason=REASON,
        cause=lambda _row: cause,
        also=lambda row: {"set_aside": people[row.pk]},
    ) as batch:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE approval_decisions d SET set_aside_at = now.at, set_aside_reason = %s"
                " FROM unnest(%s::uuid[], %s::timestamptz[]) AS now(approval_id, at)"
                " WHERE d.approval_id = now.approval_id AND d.id = ANY(%s)",
                [
                    *(str(SetAside.CUT_OFF), [row.pk for row in batch], [row.now for row in batch]),
                    [one.pk for one in due],
                ],
            )
        for row in batch:
            row.granted -= len(people[row.pk])
    return [row.pk for row in batch]


def _cancel(
    tenant: str, identities: Collection[Identity], pks: Sequence[UUID], *, actor: Actor, cause: UUID | None
) -> list[UUID]:
    rows = _requested(tenant, identities).filter(pk__in=pks)
    with change_many(rows, Action.APPROVAL_CANCELLED, actor=actor, reason=REASON, cause=lambda _row: cause) as batch:
        for row in batch:
            row.cancel()
    count_settled(batch)
    settle_many({row.task_id: row.last_event for row in batch if row.blocks and row.task_id}, actor=actor)
    return [row.pk for row in batch]


def _release(
    tenant: str, identities: Collection[Identity], pks: Sequence[UUID], *, actor: Actor, cause: UUID | None
) -> list[UUID]:
    held = _held(tenant, identities).filter(pk__in=pks)
    # One moment for the three queries, so that no deadline passes between them.
    past = Q(deadline__isnull=False, deadline__lte=database_now())
    ends: Mapping[Action, tuple[Q, Move]] = {
        Action.TASK_CANCELLED: (Q(cancel_requested=True), Task.cancel),
        Action.TASK_FAILED: (past & Q(cancel_requested=False), fail_with(handing_back.OVERDUE)),
        Action.TASK_FORCE_RELEASED: (~past & Q(cancel_requested=False), Task.requeue),
    }
    released: list[UUID] = []
    for word, (condition, move) in ends.items():
        released += _end_holds(held.filter(condition), word, move, actor=actor, cause=lambda _task: cause)
    return released


def _end_holds(
    rows: QuerySet[Task], word: Action, move: Move, *, actor: Actor, cause: Callable[[Task], UUID | None]
) -> list[UUID]:
    with change_many(rows, word, actor=actor, reason=REASON, cause=cause) as batch:
        held = [(task.pk, task.lease_epoch) for task in batch]
        for task in batch:
            move(task)
    attempts.end_many(held, AttemptOutcome.FORCE_RELEASED)
    close_approvals([task for task in batch if task.is_terminal], actor=actor)
    return [task.pk for task in batch]
