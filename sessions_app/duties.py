"""What is due, and what becomes of it: the housekeeping of the work."""

from django.db.models import QuerySet
from django.db.models.functions import Now

from orchestrator.actors import Actor
from sessions_app import permissions
from sessions_app.models import Approval, Session, Task
from sessions_app.models.session import SessionStatus
from sessions_app.sweeping import Duty
from sessions_app.transitions import lapse
from sessions_app.transitions import session as sessions
from sessions_app.transitions.approvals import expiry


def _expired_sessions(actor: Actor) -> QuerySet[Session]:
    """Past their time by the database's clock, the longest overdue first."""
    open_ones = [SessionStatus.PENDING, SessionStatus.ACTIVE]
    rows = permissions.visible(Session, actor).filter(status__in=open_ones, expires_at__lte=Now())
    return rows.order_by("expires_at")


EXPIRE_SESSIONS = Duty("expire_sessions", _expired_sessions, lambda rows, by: sessions.expire_many(rows, actor=by))

FAIL_OVERDUE = Duty(
    "fail_overdue_tasks",
    lambda actor: permissions.visible(Task, actor).filter(lapse.OVERDUE).order_by("deadline"),
    lambda rows, by: lapse.fail_overdue(rows, actor=by),
)
CANCEL_OVERDUE = Duty(
    "cancel_overdue_tasks",
    lambda actor: permissions.visible(Task, actor).filter(lapse.CALLED_OFF).order_by("deadline"),
    lambda rows, by: lapse.cancel_overdue(rows, actor=by),
)
CANCEL_UNWANTED = Duty(
    "cancel_unwanted_tasks",
    lambda actor: permissions.visible(Task, actor).filter(lapse.UNWANTED).order_by("lease_expires_at"),
    lambda rows, by: lapse.cancel_unwanted(rows, actor=by),
)
REQUEUE_LOST_DELIVERIES = Duty(
    "requeue_lost_deliveries",
    lambda actor: permissions.visible(Task, actor).filter(lapse.UNDELIVERED).order_by("lease_expires_at"),
    lambda rows, by: lapse.requeue_lost_deliveries(rows, actor=by),
)
FAIL_EXHAUSTED = Duty(
    "fail_exhausted_tasks",
    lambda actor: permissions.visible(Task, actor).filter(lapse.EXHAUSTED).order_by("lease_expires_at"),
    lambda rows, by: lapse.fail_exhausted(rows, actor=by),
)
REQUEUE_LAPSED = Duty(
    "requeue_lapsed_tasks",
    lambda actor: permissions.visible(Task, actor).filter(lapse.REPEATABLE).order_by("lease_expires_at"),
    lambda rows, by: lapse.requeue_lapsed(rows, actor=by),
)

EXPIRE_APPROVALS = Duty(
    "expire_approvals",
    lambda actor: permissions.visible(Approval, actor).filter(expiry.OVERDUE).order_by("expires_at"),
    lambda rows, by: expiry.expire_many(rows, actor=by),
)

DEADLINE_DUTIES: tuple[tuple[Duty, str], ...] = (
    (FAIL_OVERDUE, "failed past their deadline"),
    (CANCEL_OVERDUE, "cancelled at their deadline"),
)
"""What becomes of tasks past their deadline, each with what is said of them."""

LEASE_DUTIES: tuple[tuple[Duty, str], ...] = (
    (CANCEL_UNWANTED, "cancelled with their lease"),
    (REQUEUE_LOST_DELIVERIES, "put back undelivered"),
    (FAIL_EXHAUSTED, "failed without an attempt left"),
    (REQUEUE_LAPSED, "put back after their lease"),
)
"""What becomes of tasks whose lease ran out before their deadline, each with what is said of them."""
