"""Asking for approvals and deciding them through the production transitions, and looking at what a call leaves."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Model

from audit_app.models import AuditEvent
from orchestrator import boundary
from orchestrator.actors import Actor, Identity, Kind, Role
from sessions_app.duties import EXPIRE_APPROVALS
from sessions_app.models import Approval, Attempt, Decision, Session, Task
from sessions_app.sweeping import sweep
from sessions_app.transitions import approvals as transitions
from sessions_app.transitions import task as tasks
from sessions_app.transitions.approvals import Question
from sessions_app.transitions.task import Work
from tests.api import Api, token
from tests.database import without_trigger
from tests.refusal_counts import repeated
from tests.sessions_app import task_states
from tests.sessions_app.session_calls import somebody

ACTION = {"pay": "Hansen Tools", "amount": 48_000, "currency": "EUR"}
PAST = timedelta(seconds=-1)
SHORT = timedelta(seconds=0.4)
DAY = timedelta(days=1)
OPEN = ["approved", "rejected", "expired", "cancelled"]
"""Where a pending approval may go."""


# People at the API.


def manager(name: str = "petra", **options: Any) -> Api:
    """An approver of the role manager."""
    return Api(token(name, "approver", "manager", **options))


def asker(name: str = "alice", **options: Any) -> Api:
    """An agent of the role finance, to which tasks are routed here."""
    return Api(token(name, **options))


# The same as the transitions know them.


def approver(name: str = "petra", *, role: str = "manager", tenant: str = "default") -> Actor:
    """The same person as a token of `manager()`."""
    return replace(somebody(name, tenant=tenant, agent_roles=(role,)), roles=frozenset({Role.APPROVER}))


def agent_for(person: str, agent: str = "bot") -> Actor:
    """An agent of the role finance that acts for a person: as a token with `act`."""
    bot = somebody(agent)
    return replace(bot, kind=Kind.AGENT, on_behalf_of=Identity(bot.identity.issuer, person))


def ask(task: Task | None = None, *, by: Actor | None = None, lasting: timedelta = DAY, **question: Any) -> Approval:
    """A question of alice's to the managers about a pending task of mona's, unless told otherwise."""
    about = task or task_states.pending()
    asked = Question(**{"approver_role": "manager", "lasting": lasting, **question})
    return boundary.write(lambda: transitions.request(about, asked, actor=by or somebody()))


def ask_for_action(
    action: Mapping[str, Any] = ACTION,
    session: Session | None = None,
    *,
    by: Actor | None = None,
    lasting: timedelta = DAY,
    **question: Any,
) -> Approval:
    """A request of alice's to the managers about one action, without a task, by default."""
    asked = Question(**{"approver_role": "manager", "lasting": lasting, "action": action, **question})
    return boundary.write(lambda: transitions.request_action(session, asked, actor=by or somebody()))


def lapse_grant(approval: Approval) -> None:
    """Let the time in which a grant can be consumed have passed."""
    lifted = (without_trigger("approvals", f"approvals_{name}") for name in ("complete_update", "z_settled_once"))
    with next(lifted), next(lifted), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE approvals SET decision_at = decision_at - interval '40 days' WHERE id = %s", [approval.pk]
        )
        assert cursor.rowcount == 1


def ask_at_creation(*questions: Question, by: Actor | None = None) -> tuple[Task, list[Approval]]:
    """A task of mona's that waits for people from the start, and what they are asked, in that order."""
    work = Work(task_type="routing", from_role="manager", to_role="finance")
    actor = by or task_states.manager()
    task = boundary.write(lambda: tasks.route(work, questions=questions, actor=actor))
    return task, list(Approval.objects.filter(task=task).order_by("created_at", "pk"))


def question(role: str = "manager", *, lasting: timedelta = DAY, **more: Any) -> Question:
    """A question to a role for a day."""
    return Question(approver_role=role, lasting=lasting, **more)


def agree(approval: Approval, *names: str, comments: str = "") -> Approval:
    """The approval after each of these people, or petra, agreed."""
    for name in names or ("petra",):
        actor = approver(name, role=approval.approver_role, tenant=approval.tenant)
        approval = boundary.write(partial(transitions.approve, approval, actor=actor, comments=comments))
    return approval


def refuse(approval: Approval, name: str = "petra", *, comments: str = "") -> Approval:
    """The approval after somebody refused."""
    actor = approver(name, role=approval.approver_role)
    return boundary.write(lambda: transitions.reject(approval, actor=actor, comments=comments))


def withdraw(approval: Approval, *, by: Actor | None = None) -> Approval:
    """The approval called off, by alice unless told otherwise."""
    return boundary.write(lambda: transitions.cancel(approval, actor=by or somebody()))


def consume(approval: Approval, action: Mapping[str, Any] = ACTION, *, by: Actor | None = None) -> Approval:
    """The approval used, by alice unless told otherwise."""
    return boundary.write(lambda: transitions.consume(approval, action, actor=by or somebody()))


def expire(approval: Approval) -> Approval:
    """An overdue approval after the sweep came by."""
    sweep(EXPIRE_APPROVALS)
    return Approval.objects.get(pk=approval.pk)


SETTLED: Mapping[str, Callable[[], Approval]] = {
    "approved": lambda: agree(ask(action=ACTION)),
    "rejected": lambda: refuse(ask(action=ACTION)),
    "expired": lambda: expire(ask(action=ACTION, lasting=PAST)),
    "cancelled": lambda: withdraw(ask(action=ACTION)),
}
"""An approval in each of its final states, by legal moves."""


# What is there.


def where(approval: Approval, verb: str = "") -> str:
    """Its path, or that of a verb below it."""
    return f"/approvals/{approval.pk}/{verb}".rstrip("/")


def now(approval: Approval) -> Approval:
    """As the database has it."""
    return Approval.objects.get(pk=approval.pk)


def task_id(approval: Approval) -> UUID:
    """Return the id of its task. Fails where it is about an action without a task."""
    assert approval.task_id is not None
    return approval.task_id


def task_of(approval: Approval) -> Task:
    """Its task, as the database has it."""
    return Task.objects.get(pk=task_id(approval))


def digest(approval: Approval) -> str:
    """That of its action, in hex."""
    assert approval.action_digest is not None
    return bytes(approval.action_digest).hex()


def error_of(approval: Approval) -> str:
    """The code of what its task failed with."""
    error = task_of(approval).error
    assert isinstance(error, dict)
    return str(error["code"])


def problem(answer: Any) -> tuple[int, str]:
    """Status and slug of a refusal."""
    return answer.status_code, str(answer.json()["type"]).removeprefix("/problems/")


def problem_of(answer: Any, status: int, slug: str) -> dict[str, Any]:
    """The body of a refusal. Fails if it is another."""
    assert problem(answer) == (status, slug), answer.content
    return dict(answer.json())


@contextmanager
def nothing_moves() -> Iterator[None]:
    """Fails if the block leaves another task, attempt, approval or decision, or any event but of a right refused."""
    rows, known = _rows(), set(AuditEvent.objects.values_list("pk", flat=True))
    yield
    assert _rows() == rows
    added = AuditEvent.objects.exclude(pk__in=known)
    assert not added.exclude(event_type__endswith=".refused", reason="forbidden", seq__isnull=True).exists()


@contextmanager
def nothing_but_refused(*refused: tuple[str, str, str]) -> Iterator[None]:
    """Fails if the block leaves another row, or other events than these of approvals refused, outside every chain.

    Each is the subject of who tried, the verb they tried, and the slug of the refusal. A repetition within the minute
    is counted and no event.
    """
    rows, known, counted = _rows(), set(AuditEvent.objects.values_list("pk", flat=True)), _counted()
    yield
    assert _rows() == rows
    added = [_told(event) for event in AuditEvent.objects.exclude(pk__in=known).order_by("pk")]
    again = _counted() - counted
    assert Counter(added) + again == Counter(refused)
    assert again or added == list(refused)


def _rows() -> dict[str, list[dict[str, Any]]]:
    models: tuple[type[Model], ...] = (Task, Attempt, Approval, Decision)
    return {model.__name__: [dict(row) for row in model._default_manager.order_by("pk").values()] for model in models}


def _counted() -> Counter[tuple[str, str, str]]:
    return Counter((row.actor_subject, row.attempted, row.reason) for row in repeated())


def _told(event: AuditEvent) -> tuple[str, str, str]:
    assert (event.event_type, event.subject_type, event.seq) == ("approval.refused", "approval", None)
    approval = Approval.objects.get(pk=event.subject_id or "")
    assert (event.tenant, event.role) == (approval.tenant, approval.approver_role)
    assert event.metadata["changes"]["version"] == approval.version
    return event.actor_subject, event.metadata["changes"]["attempted"], event.reason
