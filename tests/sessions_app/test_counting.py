"""What the work counts: each transition once it is committed, the ends of attempts, how long approvals were open."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from prometheus_client import REGISTRY

from audit_app.trail import Action
from orchestrator import boundary
from orchestrator.problems import NotFound
from sessions_app.duties import DEADLINE_DUTIES, LEASE_DUTIES
from sessions_app.models.attempt import AttemptOutcome
from sessions_app.sweeping import sweep
from sessions_app.transitions import lease
from sessions_app.transitions import session as sessions
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import SETTLED, ask
from tests.sessions_app.session_calls import overdue_session, somebody
from tests.sessions_app.task_calls import finn, lapse, path, task_in
from tests.work import open_session

pytestmark = pytest.mark.django_db(transaction=True)
EVENTS, ENDED = "orchestrator_events_total", "orchestrator_task_attempts_ended_total"
DECIDED = "orchestrator_approval_decision_seconds"


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def all_of(name: str, label: str) -> dict[str, float]:
    """The samples of a metric that are not zero, by a label."""
    families = (family for family in REGISTRY.collect() for sample in family.samples if sample.name == name)
    return {sample.labels[label]: sample.value for sample in next(families).samples if sample.name == name}


@contextmanager
def counts(name: str, label: str, **expected: int) -> Iterator[None]:
    """Fails unless the block adds exactly these."""
    before = all_of(name, label)
    yield
    after = all_of(name, label)
    added = {word: after[word] - before[word] for word in after if after[word] != before[word]}
    assert added == expected


def events(**expected: int) -> AbstractContextManager[None]:
    """By event type, its dot written as two underscores."""
    return counts(EVENTS, "event_type", **{word.replace("__", "."): count for word, count in expected.items()})


def test_each_transition_is_counted_by_its_event() -> None:
    with events(session__created=1):
        session = open_session()
    with events(session__activated=1):
        boundary.write(lambda: sessions.amend(session, actor=somebody(), status="active"))
    with events(task__created=1, task__claimed=1, task__completed=1):
        task_states.completed()
    with events():
        boundary.write(lambda: sessions.amend(session, actor=somebody(), status="active"))


def test_each_word_of_the_trail_is_told_from_the_start() -> None:
    assert set(all_of(EVENTS, "event_type")) == {str(word) for word in Action}
    assert set(all_of(ENDED, "outcome")) == set(AttemptOutcome.values)


def test_what_is_rolled_back_is_not_counted() -> None:
    def undone() -> None:
        sessions.amend(session, actor=somebody(), status="active")
        raise NotFound

    session = open_session()
    with events(), pytest.raises(NotFound):
        boundary.write(undone)


def test_a_refused_attempt_that_is_remembered_is_counted_as_what_it_is() -> None:
    task, _ = task_states.held()
    with events(task__refused=1):
        answer = finn().post(path(task, "complete"), {"lease_token": "x" * 43})
    assert answer.status_code == 409, answer.content


def test_many_that_move_at_once_are_counted_each() -> None:
    tasks = [task_states.active() for _ in range(3)]
    for task in tasks:
        lapse(task)
    with events(task__requeued=3), counts(ENDED, "outcome", **{"lease-lost": 3}):
        for duty, _ in (*DEADLINE_DUTIES, *LEASE_DUTIES):
            sweep(duty)


def completes() -> None:
    task_states.completed()


def fails() -> None:
    task_states.failed()


def releases() -> None:
    task, token = task_states.held()
    boundary.write(lambda: lease.release(task, token=token, actor=somebody("finn")))


def is_taken() -> None:
    task = task_states.active()
    boundary.write(lambda: lease.force_release(task, reason="gone", actor=task_states.manager()))


@pytest.mark.parametrize(
    ("end", "outcome"),
    [(completes, "completed"), (fails, "failed"), (releases, "released"), (is_taken, "force-released")],
)
def test_the_end_of_an_attempt_is_counted_by_how_it_ended(end: Callable[[], None], outcome: str) -> None:
    with counts(ENDED, "outcome", **{outcome: 1}):
        end()


@pytest.mark.parametrize("outcome", SETTLED)
def test_an_approval_that_is_settled_tells_for_how_long_it_was_open(outcome: str) -> None:
    before = value(f"{DECIDED}_sum", outcome=outcome)
    with counts(f"{DECIDED}_count", "outcome", **{outcome: 1}):
        settled = SETTLED[outcome]()
    open_for = (settled.updated_at - settled.created_at).total_seconds()
    assert value(f"{DECIDED}_sum", outcome=outcome) - before == pytest.approx(open_for)


def test_an_approval_that_goes_with_its_task_is_counted_too() -> None:
    task = ask().task
    with counts(f"{DECIDED}_count", "outcome", cancelled=1):
        task_states.cancelled(task)


def test_what_needs_one_more_voice_is_not_settled() -> None:
    with counts(f"{DECIDED}_count", "outcome"):
        ask(required_approvals=2)
        overdue_session("active")
        task_in("blocked")
