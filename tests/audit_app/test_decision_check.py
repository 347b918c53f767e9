"""Decisions are in order where the clock was set back between the claim of a task and a decision about it."""

from datetime import timedelta

import pytest

from sessions_app.models import Approval, Task
from tests import work
from tests.audit_app.seals import Place, findings
from tests.audit_app.tampering import Super, point, retell, unguarded
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import ACTION, agree, ask, consume
from tests.sessions_app.session_calls import somebody

pytestmark = pytest.mark.django_db(transaction=True)

AHEAD = timedelta(seconds=5)


def claimed_ahead(beside: Super, asked: Approval) -> None:
    """Let the clock have been ahead when the task of a request was claimed, and right again after that."""
    task = Task.objects.get(approvals=asked)
    at = work.chain(task)[1]["timestamp"] + AHEAD
    retell(beside, task, 2, timestamp=at)
    point(beside, task, updated_at=at)
    beside.execute("UPDATE task_attempts SET claimed_at = %s WHERE task_id = %s", [at, task.pk])


@pytest.fixture
def decided() -> Approval:
    """Petra agreed while finn held the task."""
    return agree(ask(task_states.active(), action=ACTION))


def test_a_decision_under_a_clock_that_was_set_back_is_in_order(place: Place, decided: Approval) -> None:
    with unguarded() as beside:
        claimed_ahead(beside, decided)
        assert findings(place, anchor=False) == []
        for columns in ("holder_subject = 'mallory'", "holder_subject = NULL, holder_issuer = 'x'"):
            beside.execute(f"UPDATE approval_decisions SET {columns} WHERE approval_id = %s", [decided.pk])
            assert findings(place, anchor=False) == [("decisions", str(decided.pk), decided.version)]


def test_a_use_by_the_holder_under_a_clock_that_was_set_back_is_in_order(place: Place, decided: Approval) -> None:
    consume(decided, by=somebody("finn"))
    with unguarded() as beside:
        claimed_ahead(beside, decided)
        assert findings(place, anchor=False) == []
