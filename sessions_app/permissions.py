"""Who sees and does what. `visible()` and `find()` are the only ways to rows."""

from collections.abc import Callable, Collection
from functools import cache
from typing import TypeVar, cast
from uuid import UUID

from django.db import models
from django.db.models.expressions import RawSQL

from orchestrator.actors import Actor, Kind, Role
from orchestrator.deciding import may_sign
from orchestrator.problems import Forbidden, NotFound
from sessions_app.models import Approval, Attempt, Decision, Recorded, Session, Task
from sessions_app.models.clock import ClockTimestamp
from sessions_app.requesters import Requester, first_requester

Row = TypeVar("Row", bound=Recorded)
Scope = tuple[str, list[object]]

_ROLES: Callable[[Actor], list[object]] = lambda actor: [sorted(actor.agent_roles)]  # noqa: E731  a value of the table
_SELF: Callable[[Actor], list[object]] = lambda actor: [actor.identity.issuer, actor.identity.subject]  # noqa: E731

# What a role sees of each model beside what is its own, as SQL on the row and the values it takes. An auditor and an
# operator see all of their tenant, and nobody but a job of ours sees past it: `_scope` says so once for every model.
_SEEN: dict[type[Recorded], dict[Role, tuple[str, Callable[[Actor], list[object]]]]] = {
    Session: {
        Role.AGENT: ("sessions.role = ANY(%s)", _ROLES),
        Role.APPROVER: ("sessions.role = ANY(%s)", _ROLES),
    },
    Task: {
        Role.AGENT: ("tasks.to_role = ANY(%s)", _ROLES),
        # What they are, or were, asked about.
        Role.APPROVER: (
            "EXISTS (SELECT FROM approvals a WHERE a.task_id = tasks.id AND a.approver_role = ANY(%s))",
            _ROLES,
        ),
    },
    Approval: {
        # The holder of a task sees the approvals about it. A requester sees the request by which an operator reopened
        # or replaced theirs.
        Role.AGENT: (
            """(SELECT (t.lease_issuer, t.lease_subject) = (%s, %s) FROM tasks t WHERE t.id = approvals.task_id)
            OR ((approvals.reopens_id IS NOT NULL OR approvals.replaces_id IS NOT NULL) AND EXISTS (
              SELECT FROM work_request_line(approvals.id) AS line(id) JOIN approvals f ON f.id = line.id
              WHERE (f.created_by_issuer, f.created_by_subject) = (%s, %s)))""",
            lambda actor: _SELF(actor) * 2,
        ),
        Role.APPROVER: ("approvals.approver_role = ANY(%s)", _ROLES),
    },
}


def visible(model: type[Row], actor: Actor) -> models.QuerySet[Row]:
    """The rows of a model that this actor may see, with the database's clock beside each as `now`."""
    sql, params = _scope(model, actor)
    seen = RawSQL(sql, params, models.BooleanField())  # noqa: S611  no input in it
    return cast("models.QuerySet[Row]", model._default_manager.filter(seen).annotate(now=ClockTimestamp()))


def find(model: type[Row], pk: UUID, actor: Actor) -> Row:
    """One row that this actor may see, with the database's clock beside it as `now`; one query.

    Raises NotFound where there is none: unseen and missing look the same.
    """
    sql, params = _scope(model, actor)
    for row in model._default_manager.raw(f"{_one(model)} AND {sql}", [pk, *params]):
        return row
    raise NotFound


def hold(model: type[Row], pk: UUID, actor: Actor) -> Row | None:
    """One row that this actor may see, or None; held `FOR KEY SHARE`, so that it cannot go before we point to it."""
    sql, params = _scope(model, actor)
    for row in model._default_manager.raw(f"{_one(model)} AND {sql} FOR KEY SHARE", [pk, *params]):
        return row
    return None


def attempts_of(task: Task) -> models.QuerySet[Attempt]:
    """The attempts of a task, which whoever sees the task sees."""
    return Attempt.objects.filter(task=task)


def decisions_on(approvals: Collection[Approval]) -> dict[UUID, list[Decision]]:
    """What was said of each approval, in the order in which it was; one query. Whoever sees the approval sees them."""
    said: dict[UUID, list[Decision]] = {approval.pk: [] for approval in approvals}
    for decision in Decision.objects.filter(approval_id__in=said).order_by("decided_at", "id") if said else ():
        said[decision.approval_id].append(decision)
    return said


@cache
def _one(model: type[Recorded]) -> str:
    return f'SELECT *, clock_timestamp() AS now FROM "{model._meta.db_table}" WHERE id = %s'


def _scope(model: type[Recorded], actor: Actor) -> Scope:
    """The condition that a row is within the actor's sight, as constant SQL. Both ways to rows come from it."""
    if actor.kind is Kind.JOB:
        return "TRUE", []
    if actor.has(Role.AUDITOR, Role.OPERATOR):
        return f"{model._meta.db_table}.tenant = %s", [actor.tenant]
    table = model._meta.db_table
    rules: list[str] = []
    params: list[object] = [actor.tenant]
    if actor.has(Role.AGENT):
        rules.append(f"({table}.created_by_issuer = %s AND {table}.created_by_subject = %s)")
        params += _SELF(actor)
    for role, (sql, values) in _SEEN.get(model, {}).items():
        if actor.has(role):
            rules.append(sql)
            params += values(actor)
    return f"({table}.tenant = %s AND ({' OR '.join(rules) or 'FALSE'}))", params


def insist_may_open(actor: Actor, role: str) -> None:
    """Agents open sessions for their own roles, operators for any. Raises Forbidden."""
    _insist(_is_of_role(actor, role), "You may open sessions for your own agent roles only.")


def insist_may_delete(actor: Actor) -> None:
    """Operators delete. Raises Forbidden."""
    _insist(actor.has(Role.OPERATOR), "Only an operator may delete.")


def insist_may_move(actor: Actor, session: Session) -> None:
    """Agents move the sessions of their roles and their own, operators all. Raises Forbidden."""
    may = _is_of_role(actor, session.role) or (actor.has(Role.AGENT) and session.is_of(actor))
    _insist(may, "You may see this session but not change it.")


def insist_may_route(actor: Actor, role: str) -> None:
    """Agents route tasks from their own roles, operators from any. Raises Forbidden."""
    _insist(_is_of_role(actor, role), "You may create tasks from your own agent roles only.")


def insist_may_claim(actor: Actor, roles: Collection[str]) -> None:
    """Agents claim what is for their own roles, operators what is for any, and nobody else claims. Raises Forbidden."""
    _insist(actor.has(Role.AGENT, Role.OPERATOR), "Only an agent or an operator may claim tasks.")
    _insist(all(_is_of_role(actor, role) for role in roles), "You may claim tasks to your own agent roles only.")


def insist_may_work(actor: Actor, task: Task) -> None:
    """Agents work tasks to their roles, operators all; whether they hold the lease is not asked. Raises Forbidden."""
    _insist(_is_of_role(actor, task.to_role), "You may see this task but not work on it.")


def insist_may_cancel(actor: Actor, task: Task) -> None:
    """Agents cancel what they made, operators all. Raises Forbidden."""
    may = actor.has(Role.OPERATOR) or (actor.has(Role.AGENT) and task.is_of(actor))
    _insist(may, "You may see this task but not cancel it.")


def insist_may_steer(actor: Actor) -> None:
    """Operators retry tasks and take them from their holders. Raises Forbidden."""
    _insist(actor.has(Role.OPERATOR), "Only an operator may do that.")


def insist_may_request(actor: Actor) -> None:
    """Agents and operators ask, about tasks that they see. Raises Forbidden."""
    _insist(actor.has(Role.AGENT, Role.OPERATOR), "Only agents and operators may ask for an approval.")


def insist_may_withdraw(actor: Actor, approval: Approval) -> None:
    """Check that an actor may cancel a request: agents cancel their own ones, operators all.

    Cancelling a request that its task was created with cancels the task. It needs the right to do that too.

    Raises Forbidden; NotFound where the actor does not see the task.
    """
    may = actor.has(Role.OPERATOR) or (actor.has(Role.AGENT) and first_requester(approval) == Requester.of(actor))
    _insist(may, "You may see this approval but not cancel it.")
    # An operator may cancel every task of the tenant, so the task is not read.
    if approval.cancels_its_task and approval.task_id is not None and not actor.has(Role.OPERATOR):
        insist_may_cancel(actor, find(Task, approval.task_id, actor))


def insist_may_use(actor: Actor) -> None:
    """Agents and operators use what was agreed to; that it is theirs to use the transition knows. Raises Forbidden."""
    _insist(actor.has(Role.AGENT, Role.OPERATOR), "Only agents and operators may consume an approval.")


def may_decide(actor: Actor) -> bool:
    """Return whether this actor decides anything at all: people do, as approvers, through a way in that may sign.

    An operator has no way round.
    """
    return may_sign(actor) and actor.has(Role.APPROVER)


def insist_is_approver(actor: Actor) -> None:
    """Whether there can be anything for them to decide. Raises Forbidden."""
    _insist(actor.has(Role.APPROVER), "Only an approver may decide an approval.")


def insist_may_decide(actor: Actor, approval: Approval) -> None:
    """Approvers decide what is asked of their roles; what else keeps them from it the transition knows.

    Raises Forbidden.
    """
    may = actor.has(Role.APPROVER) and approval.approver_role in actor.agent_roles
    _insist(may, "Only an approver of its role may decide an approval.")


def _is_of_role(actor: Actor, role: str) -> bool:
    return actor.has(Role.OPERATOR) or (actor.has(Role.AGENT) and role in actor.agent_roles)


def _insist(allowed: bool, detail: str) -> None:
    if not allowed:
        raise Forbidden(detail)
