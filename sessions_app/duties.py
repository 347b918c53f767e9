"""What is due, and what becomes of it: the housekeeping of the work."""

from collections.abc import Callable
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet, UUIDField
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from orchestrator.actors import Actor
from orchestrator.people.models import Person
from sessions_app import permissions
from sessions_app.models import Approval, Recorded, RefusalCount, Session, Task
from sessions_app.models.approval import ApprovalStatus
from sessions_app.models.recorded import moves
from sessions_app.models.session import SessionStatus
from sessions_app.sweeping import Duty
from sessions_app.transitions import lapse
from sessions_app.transitions import session as sessions
from sessions_app.transitions.approvals import expiry
from sessions_app.transitions.ending import close_left_over
from sessions_app.transitions.people_chain import begin_many
from sessions_app.transitions.refusing import record_many


def _final(model: type[Recorded]) -> list[str]:
    return [state for state, after in moves(model).items() if not after]


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

RECORD_REFUSALS = "record_refusals"

# Half of a hash of the primary key, which is longer than the UUID by which a row that cannot be moved is known.
_COUNT_ID = RawSQL(
    "encode(substring(sha256(key || int8send(extract(epoch FROM minute)::bigint)) FOR 16), 'hex')::uuid",
    [],
    UUIDField(),
)


def record_refusals(tally: Callable[[int], object]) -> Duty:
    """Return the duty that records repeated refusals; `tally` is called with how many each transaction recorded."""

    def move(rows: QuerySet[RefusalCount], _actor: Actor) -> int:
        counts, refusals = record_many(rows)
        transaction.on_commit(lambda: tally(refusals), robust=True)
        return counts

    return Duty(RECORD_REFUSALS, _repeated_refusals, move, _COUNT_ID)


def _repeated_refusals(_actor: Actor) -> QuerySet[RefusalCount]:
    """Of minutes that are over. A transaction of the minute before may still be about to count its refusal."""
    return RefusalCount.objects.filter(minute__lt=Now() - timedelta(seconds=65)).order_by("minute", "key")


# A row that was set back to version 0 keeps its trail id, and is left to verification.
RECORD_PEOPLE = Duty(
    "record_people",
    lambda _actor: Person.objects.filter(version=0, trail_id=None).order_by("pk"),
    lambda rows, by: begin_many(rows, actor=by),
    RawSQL("lpad(to_hex(people_person.id), 32, '0')::uuid", [], UUIDField()),
)

CLOSE_LEFT_BY_TASKS = Duty(
    "close_approvals_of_ended_tasks",
    lambda actor: permissions.visible(Approval, actor).filter(
        status=ApprovalStatus.PENDING, task__status__in=_final(Task)
    ),
    lambda rows, by: close_left_over(rows, Task, actor=by),
)
CLOSE_LEFT_BY_SESSIONS = Duty(
    "close_approvals_of_ended_sessions",
    lambda actor: permissions.visible(Approval, actor).filter(
        status=ApprovalStatus.PENDING, session__status__in=_final(Session)
    ),
    lambda rows, by: close_left_over(rows, Session, actor=by),
)

LEFT_OVER_DUTIES: tuple[tuple[Duty, str], ...] = (
    (CLOSE_LEFT_BY_TASKS, "cancelled after their task"),
    (CLOSE_LEFT_BY_SESSIONS, "cancelled after their session"),
)
"""What becomes of open approvals whose task or session ended when it had more of them than may end with it."""

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
