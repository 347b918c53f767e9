"""Approvals brought to each state by the production transitions."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from orchestrator import boundary
from orchestrator.actors import Actor, Role, job
from sessions_app.models import Approval, Session, Task
from sessions_app.transitions import approvals as transitions
from sessions_app.transitions.approvals import Question
from sessions_app.transitions.approvals.expiry import expire_many
from tests.sessions_app.session_calls import somebody
from tests.sessions_app.task_states import pending

DAY = timedelta(days=1)
ACTION = {"pay": "Hansen Tools", "amount": 48_000, "items": [{"sku": "press-41"}]}


def approver(name: str = "petra", *, agent_roles: tuple[str, ...] = ("manager",)) -> Actor:
    """Somebody who decides for the role manager, unless told otherwise."""
    return replace(somebody(name, agent_roles=agent_roles), roles=frozenset({Role.APPROVER}))


def requested(task: Task | None = None, *, by: Actor | None = None, **question: Any) -> Approval:
    """Asked of managers by finn, about a task that waits for it, unless told otherwise."""
    about = task or pending()
    known = {"approver_role": "manager", "lasting": DAY, "reason": "Above the limit.", "action": ACTION, **question}
    asking = partial(transitions.request, about, Question(**known), actor=by or somebody("finn"))
    return boundary.write(asking)


def requested_action(session: Session | None = None, *, by: Actor | None = None, **question: Any) -> Approval:
    """An action of finn's that managers are asked about, without a task; with a session where one is given."""
    known = {"approver_role": "manager", "lasting": DAY, "reason": "Above the limit.", "action": ACTION, **question}
    asking = partial(transitions.request_action, session, Question(**known), actor=by or somebody("finn"))
    return boundary.write(asking)


def agreed(approval: Approval | None = None, *, by: Actor | None = None, comments: str = "Checked.") -> Approval:
    """One person has said yes, max unless told otherwise."""
    wanted = approval or requested()
    return boundary.write(partial(transitions.approve, wanted, comments=comments, actor=by or approver("max")))


def rejected(approval: Approval | None = None, *, by: Actor | None = None) -> Approval:
    """One person has said no."""
    wanted = approval or requested()
    return boundary.write(partial(transitions.reject, wanted, comments="Not covered.", actor=by or approver("max")))


def overdue(**question: Any) -> Approval:
    """Past its time, and nobody has come by yet."""
    return requested(**{"lasting": timedelta(seconds=-1), **question})


def expired() -> Approval:
    """Past its time, and told so."""
    late = overdue()
    boundary.write(lambda: expire_many(Approval.objects.filter(pk=late.pk), actor=job("sweep")))
    return Approval.objects.get(pk=late.pk)


def withdrawn() -> Approval:
    """Called off by finn."""
    wanted = requested()
    return boundary.write(lambda: transitions.cancel(wanted, reason="not needed", actor=somebody("finn")))


def consumed() -> Approval:
    """Agreed to, and used by finn."""
    known = agreed()
    return boundary.write(lambda: transitions.consume(known, ACTION, actor=somebody("finn")))


APPROVALS_IN: Mapping[str, Callable[[], Approval]] = {
    "pending": requested,
    "voted": lambda: agreed(requested(required_approvals=2)),
    "overdue": overdue,
    "approved": agreed,
    "consumed": consumed,
    "rejected": rejected,
    "expired": expired,
    "cancelled": withdrawn,
}
"""The ways an approval can be, as people tell them apart."""
