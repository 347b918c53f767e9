"""Attempts that honest calls ended are in order, whoever put the task back."""

from functools import partial

import pytest

from orchestrator import boundary
from sessions_app.transitions import lease
from tests import work
from tests.audit_app.seals import Place, findings
from tests.audit_app.tampering import unguarded
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import ask
from tests.sessions_app.session_calls import somebody
from tests.sessions_app.task_calls import attempts, become_due, stored

pytestmark = pytest.mark.django_db(transaction=True)

LOST = {"lease-lost": task_states.lapsed, "lost-delivery": task_states.undelivered}


@pytest.mark.parametrize("outcome", LOST)
def test_a_lapsed_task_that_its_former_holder_puts_back_by_a_request_is_in_order(place: Place, outcome: str) -> None:
    task = LOST[outcome]()
    ask(task, by=somebody("finn"))
    assert [one.outcome for one in attempts(task)] == [outcome]
    assert [event["reason"] for event in work.chain(task) if event["event_type"] == "task.requeued"] == [outcome]
    assert findings(place, anchor=False) == []
    with unguarded() as beside:
        beside.execute("UPDATE task_attempts SET outcome = 'released' WHERE task_id = %s", [task.pk])
        assert findings(place, anchor=False) == [("attempts", str(task.pk), stored(task).version)]


def test_attempts_that_fail_twice_with_the_code_of_a_lost_lease_are_in_order(place: Place) -> None:
    task = task_states.pending()
    for _ in range(2):
        row, token = task_states.held(task)
        error = {"code": "lease-lost"}
        failing = partial(lease.fail, row, token=token, error=error, retryable=True, actor=somebody("finn"))
        boundary.write(failing)
        become_due(task)
    assert [one.outcome for one in attempts(task)] == ["failed", "failed"]
    assert [kind for kind, _, _ in findings(place, anchor=False) if kind == "attempts"] == []
