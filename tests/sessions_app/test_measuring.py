"""What is measured of the work: by role, of what can be done now, and bounded whatever callers name."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from sessions_app import measuring
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import ask, expire
from tests.sessions_app.session_calls import overdue_session, session_in
from tests.sessions_app.task_calls import become_due, lapse, pass_deadline, task_in

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)


def measured() -> Mapping[str, Mapping[str, float]]:
    """Each metric with its samples by the value of their label."""
    return {
        family.name.removeprefix("orchestrator_"): {
            "".join(sample.labels.values()): sample.value for sample in family.samples
        }
        for family in measuring.work()
    }


def test_nothing_waits_where_there_is_nothing() -> None:
    told = measured()
    assert (told["tasks_pending"], told["approvals_pending"], told["tasks_active"]) == ({}, {}, {"": 0})
    assert told["sweep_lag_seconds"] == {"sessions": 0, "approvals": 0, "leases": 0, "deadlines": 0}


def test_what_can_be_claimed_now_is_counted_by_role() -> None:
    later = datetime.now(UTC) + HOUR
    task_states.pending()
    task_states.pending(by=task_states.manager(tenant="acme"))
    task_states.pending(to_role="legal")
    task_states.pending(to_role="legal", not_before=later)
    pass_deadline(task_states.pending(to_role="legal", deadline=later))
    for state in ("active", "completed", "blocked", "cancelled"):
        task_in(state)
    told = measured()
    assert told["tasks_pending"] == {"finance": 2, "legal": 1}
    assert told["tasks_active"] == {"": 1}


def test_a_task_waits_since_it_could_be_claimed() -> None:
    task = task_states.pending(not_before=datetime.now(UTC) + HOUR)
    become_due(task)
    blocked = ask(lasting=HOUR)
    claimable = "SELECT extract(epoch FROM clock_timestamp() - greatest(updated_at, not_before))::float FROM tasks"
    with connection.cursor() as cursor:
        cursor.execute(f"{claimable} WHERE id = %s", [task.pk])
        waited = float(cursor.fetchone()[0])
    told = measured()
    assert waited <= told["tasks_pending_oldest_age_seconds"]["finance"] < waited + 5
    assert 0 <= told["approvals_pending_oldest_age_seconds"][blocked.approver_role] < 5


def test_what_can_be_decided_is_counted_by_the_role_that_is_asked() -> None:
    for role in ("manager", "manager", "legal"):
        ask(approver_role=role)
    expire(ask(approver_role="legal", lasting=-HOUR))
    assert measured()["approvals_pending"] == {"manager": 2, "legal": 1}


def test_of_many_roles_those_for_which_most_waits_are_told_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "MOST_ROLES", 2)
    waits = {"a": 1, "b": 3, "c": 2, "d": 1, measuring.OTHERS: 4}
    for role, count in waits.items():
        for _ in range(count):
            task_states.pending(to_role=role)
    told = measured()
    assert told["tasks_pending"] == {"b": 3, "c": 2, measuring.OTHERS: 6}
    assert list(told["tasks_pending_oldest_age_seconds"]) == ["b", "c", measuring.OTHERS]


def test_tells_for_how_long_what_is_overdue_waits_for_the_sweep() -> None:
    session_in("active")
    task_in("active")
    overdue_session("active")
    lapse(task_states.active())
    pass_deadline(task_states.pending(deadline=datetime.now(UTC) + HOUR))
    lag = measured()["sweep_lag_seconds"]
    assert lag["approvals"] == 0
    assert all(lag[name] > 0 for name in ("sessions", "leases", "deadlines")), lag
