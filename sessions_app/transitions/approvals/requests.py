"""How people are asked to agree: to a task, or to one action without a task."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self
from uuid import UUID

from django.conf import settings
from django.db import connection

from audit_app.trail import Action, instant
from orchestrator.actors import Actor
from orchestrator.canonical import dumps
from orchestrator.clock import database_now
from orchestrator.problems import InvalidRequest
from orchestrator.work_problems import (
    AlreadyRejected,
    AlreadyRequested,
    IllegalTransition,
    NoApprover,
    SessionExpired,
    StillDecidable,
    TooManyOpenApprovals,
)
from sessions_app import approvers
from sessions_app.earlier_requests import as_earlier
from sessions_app.models import Approval, Session, Task
from sessions_app.models.approval import MAX_OPEN, MAX_OPEN_BARE, ApprovalStatus
from sessions_app.models.task import TaskStatus
from sessions_app.requesters import Requester, first_requester
from sessions_app.steering import live_reopenings
from sessions_app.transitions.admission import admit
from sessions_app.transitions.approvals.subject import Subject
from sessions_app.transitions.batch import create_many
from sessions_app.transitions.change import changed, create, lock
from sessions_app.transitions.ending import count_settled
from sessions_app.transitions.lapse import REPEATABLE, UNDELIVERED, requeue_lapsed, requeue_lost_deliveries


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, of which role, how many must approve, for how long it is open, and for how long a grant is good.

    `use_within_seconds` of None is the setting APPROVAL_USE_WITHIN_SECONDS. `reopens` names the rejected request that
    an operator opens again, `replaces` the open one that an operator replaces.
    """

    approver_role: str
    lasting: timedelta
    reason: str = ""
    required_approvals: int = 1
    action: Mapping[str, Any] | None = None
    use_within_seconds: int | None = None
    reopens: UUID | None = None
    replaces: UUID | None = None

    @classmethod
    def of(cls, approval: Approval) -> Self:
        """Return what a request asks, to be asked again of the same people and for as long."""
        return cls(
            approver_role=approval.approver_role,
            lasting=approval.expires_at - approval.created_at,
            reason=approval.reason,
            required_approvals=approval.required_approvals,
            action=approval.action,
            use_within_seconds=approval.use_within_seconds,
        )


class _Before(NamedTuple):
    """What `work_question_before` returns."""

    open_ones: int
    approval_id: UUID | None
    outcome: str | None


def digest_of(action: Mapping[str, Any]) -> bytes:
    """Return the SHA-256 of an action's canonical JSON (RFC 8785): 32 bytes."""
    return hashlib.sha256(dumps(dict(action))).digest()


def request(task: Task, question: Question, *, actor: Actor) -> Approval:
    """Request agreement to a task. A pending task waits for it as blocked; an active one stays with its holder.

    A task whose lease ran out is put back to pending first, before any sweep.

    Raises IllegalTransition for a task that is over, or that the sweep would end; TooManyOpenApprovals,
    AlreadyRequested, AlreadyRejected, NoApprover; StillDecidable and InvalidRequest for `reopens` and `replaces`.
    """
    admit(actor)
    fresh = lock(task)
    if fresh.is_lapsed() and not fresh.is_past_deadline():
        if not requeue_lost_deliveries(Task.objects.filter(UNDELIVERED, pk=fresh.pk), actor=actor):
            requeue_lapsed(Task.objects.filter(REPEATABLE, pk=fresh.pk), actor=actor)
        fresh = lock(task)
    if fresh.is_terminal or fresh.is_lapsed() or fresh.is_past_deadline():
        raise IllegalTransition(
            before=str(fresh.status), to=str(TaskStatus.BLOCKED), allowed=fresh.allowed_transitions()
        )
    approval = _request(Subject(task=fresh), question, at=fresh.now, actor=actor)
    # A replacement waits as little as the request that it replaces.
    if fresh.status == TaskStatus.PENDING and approval.blocks:
        with changed(fresh, Action.TASK_BLOCKED, actor=actor, cause=approval.last_event) as waiting:
            waiting.block()
    return approval


def request_action(session: Session | None, question: Question, *, actor: Actor) -> Approval:
    """Request agreement to one action of the requester, which has no effect but the grant.

    Raises IllegalTransition for a session that is over, SessionExpired past its time, and what `request()` raises.
    """
    # A replacement asks for the action of the request that it replaces.
    if question.action is None and question.replaces is None:
        raise InvalidRequest([("action", "A request without a task needs the action.")])
    admit(actor)
    fresh = None if session is None else lock(session)
    if fresh is not None and fresh.is_terminal:
        raise IllegalTransition(before=str(fresh.status), to="requested", allowed=())
    if fresh is not None and fresh.is_overdue():
        members = {"from": str(fresh.status), "to": "requested", "allowed": list(fresh.allowed_transitions())}
        raise SessionExpired(f"It expired at {instant(fresh.expires_at)}.", members=members)
    at = database_now() if fresh is None else fresh.now
    return _request(Subject(session=fresh), question, at=at, actor=actor)


def ask_many(
    task: Task, questions: Sequence[Question], *, at: datetime, actor: Actor, reopening: Sequence[UUID | None] = ()
) -> None:
    """Create the requests that a new task waits for. The task is their cause.

    `reopening` names, for each question, the rejected request of an earlier task that it repeats.

    Raises InvalidRequest where two of them ask one role for one action, NoApprover.
    """
    if not questions:
        return
    asked = [(question.approver_role, _digest(question)) for question in questions if question.action is not None]
    if len(set(asked)) < len(asked):
        raise InvalidRequest([("requires_approval", "Two requests ask the same role for the same action.")])
    subject = Subject(task=task)
    rows = [_row(subject, question, at=at, required=True) for question in questions]
    for row, reopens in zip(rows, reopening, strict=False):
        row.reopens_id = reopens
    create_many(rows, Action.APPROVAL_CREATED, at=at, actor=actor, cause=task.last_event)
    _require_approvers(rows)


def questions_of(task: Task) -> tuple[list[Question], list[UUID | None]]:
    """Return what a task had to wait for, to be asked again for the task that repeats it.

    Beside each question stands the request that was rejected, if it was. What was replaced is left out, and so is a
    request that was added later and then withdrawn. Of several requests of one role for one action, the strictest one
    is asked again.
    """
    rows = list(Approval.objects.filter(task=task, blocks=True).order_by("created_at", "pk"))
    replaced = {row.replaces_id for row in rows}
    # A request that was cancelled with its task was not withdrawn before.
    wanted = [
        row
        for row in rows
        if row.pk not in replaced
        and (row.required or row.status != ApprovalStatus.CANCELLED or row.updated_at >= task.updated_at)
    ]
    groups: dict[object, list[Approval]] = {}
    for row in wanted:
        same = row.pk if row.action_digest is None else (row.approver_role, bytes(row.action_digest))
        groups.setdefault(same, []).append(row)
    strictest = [max(rows, key=lambda row: row.required_approvals) for rows in groups.values()]
    rejected = [[row.pk for row in rows if row.status == ApprovalStatus.REJECTED] for rows in groups.values()]
    return [Question.of(row) for row in strictest], [pks[-1] if pks else None for pks in rejected]


def _request(subject: Subject, question: Question, *, at: datetime, actor: Actor) -> Approval:
    """Create one request about a locked subject."""
    former = _former(subject, question, actor)
    requester = Requester.of(actor) if former is None else first_requester(former)
    if subject.task is None and subject.session is None:
        _lock_requester(requester, actor.tenant)
    if former is not None and question.reopens is not None:
        _check_reopened(former, question)
    replaced = None if former is None or question.replaces is None else _replaced(former, question)
    if replaced is not None:
        question = replace(question, action=replaced.action)
    _check_question(_before(subject, question, requester, former, actor), subject, is_replacement=replaced is not None)
    row = _row(subject, question, at=at, required=replaced is not None and replaced.required)
    if replaced is not None:
        row.blocks = replaced.blocks
    approval = create(row, Action.APPROVAL_CREATED, at=at, actor=actor, reason=question.reason if former else "")
    _require_approvers([approval])
    if replaced is not None:
        reason = f"Replaced by {approval.pk}."
        with changed(
            replaced, Action.APPROVAL_CANCELLED, actor=actor, reason=reason, cause=approval.last_event
        ) as cancelled:
            cancelled.cancel()
        count_settled([replaced])
    return approval


def _row(subject: Subject, question: Question, *, at: datetime, required: bool) -> Approval:
    task = subject.task
    given = question.use_within_seconds
    return Approval(
        task=task,
        session=subject.session,
        approver_role=question.approver_role,
        reason=question.reason,
        required_approvals=question.required_approvals,
        action=None if question.action is None else dict(question.action),
        action_digest=_digest(question),
        blocks=task is not None and task.status != TaskStatus.ACTIVE,
        required=required,
        reopens_id=question.reopens,
        replaces_id=question.replaces,
        expires_at=at + question.lasting,
        use_within_seconds=settings.APPROVAL_USE_WITHIN_SECONDS if given is None else given,
    )


def _digest(question: Question) -> bytes | None:
    return None if question.action is None else digest_of(question.action)


def _before(
    subject: Subject,
    question: Question,
    requester: Requester,
    former: Approval | None,
    actor: Actor,
) -> _Before:
    """Look for what keeps a question from being asked."""
    beside = former.pk if former is not None and question.replaces is not None else None
    reopening = former.pk if former is not None and question.reopens is not None else None
    task, session = subject.task, subject.session
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT * FROM work_question_before(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                *(actor.tenant, None if task is None else task.pk, None if session is None else session.pk),
                *(*requester.columns(), question.approver_role, _digest(question), beside, reopening),
            ],
        )
        return _Before(*cursor.fetchone())


def _lock_requester(requester: Requester, tenant: str) -> None:
    """Let two requests of one requester that stand alone wait for each other. It comes before the locks of requests."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT work_lock_requester(%s, %s, %s, %s, %s)", [tenant, *requester.columns()])


def _check_question(before: _Before, subject: Subject, *, is_replacement: bool) -> None:
    """Raises AlreadyRequested, AlreadyRejected or TooManyOpenApprovals."""
    if before.approval_id is not None:
        if before.outcome == "already-rejected":
            raise AlreadyRejected(as_earlier(Approval.objects.get(pk=before.approval_id)).out())
        raise AlreadyRequested(str(before.approval_id))
    bare = subject.task is None and subject.session is None
    most = MAX_OPEN_BARE if bare else MAX_OPEN
    if before.open_ones >= most and not is_replacement:
        raise TooManyOpenApprovals(most)


def _require_approvers(rows: Sequence[Approval]) -> None:
    """Raises NoApprover where the directory of people is complete and too few of them can decide a request."""
    if settings.APPROVER_DIRECTORY != "people":
        return
    able = approvers.able(rows)
    for row in rows:
        if able[row.pk] < row.required_approvals:
            raise NoApprover(row.approver_role, able[row.pk], row.required_approvals)


def _check_reopened(former: Approval, question: Question) -> None:
    """Check that a request can be opened again. Raises InvalidRequest, AlreadyRequested."""
    if former.status != ApprovalStatus.REJECTED:
        raise InvalidRequest([("reopens", f"Only a rejected request can be reopened; that one is {former.status}.")])
    if (former.approver_role, bytes(former.action_digest or b"")) != (question.approver_role, _digest(question) or b""):
        raise InvalidRequest([("reopens", "The role and the action must be those of the rejected request.")])
    if question.required_approvals < former.required_approvals:
        raise InvalidRequest([("required_approvals", f"It must be at least {former.required_approvals}.")])
    for later in live_reopenings(former).values_list("pk", flat=True)[:1]:
        raise AlreadyRequested(str(later))


def _replaced(row: Approval, question: Question) -> Approval:
    """Return the open request that is replaced, locked. Raises InvalidRequest, IllegalTransition, StillDecidable."""
    former = lock(row)
    if former.status != ApprovalStatus.PENDING or former.is_overdue():
        raise IllegalTransition(before=str(former.status), to="replaced", allowed=former.allowed_transitions())
    if question.required_approvals < former.required_approvals:
        raise InvalidRequest([("required_approvals", f"It must be at least {former.required_approvals}.")])
    if question.action is not None and _digest(question) != bytes(former.action_digest or b""):
        raise InvalidRequest([("action", "It must be the action of the replaced request, or be left out.")])
    if approvers.able([former])[former.pk] >= former.required_approvals:
        raise StillDecidable(former.approver_role)
    return former


def _former(subject: Subject, question: Question, actor: Actor) -> Approval | None:
    """Return the request about the same subject that is reopened or replaced, if any. Raises InvalidRequest."""
    name, pk = ("reopens", question.reopens) if question.reopens is not None else ("replaces", question.replaces)
    if pk is None:
        return None
    of = {"task": subject.task, "session": subject.session}
    for former in Approval.objects.filter(pk=pk, tenant=actor.tenant, **of):
        return former
    raise InvalidRequest([(name, "There is no such request about the same task, session or action.")])
