"""How much one tenant may have at once, and how many events its calls may record."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orchestrator import rate_limit
from orchestrator.settings_source import SOURCES, settings_of
from sessions_app.models import Session, Task
from sessions_app.quotas import FRESH_SECONDS, HELD_LEASES, OPEN_SESSIONS, PENDING_TASKS, Quota, counts
from tests.api import Api, token
from tests.sessions_app.session_calls import session_in
from tests.sessions_app.task_calls import claimed, finn, mona, path, routed, task_in

pytestmark = pytest.mark.django_db(transaction=True)

SESSION = {"agent_role": "finance"}
TASK = {"task_type": "routing", "to_role": "finance"}


class Clock:
    """Stands still until it is moved."""

    now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """As in a process that has just been started, with a clock that the test moves."""
    stopped = Clock()
    monkeypatch.setattr(counts, "_clock", stopped)
    counts._kept.clear()
    rate_limit.of_events.cache_clear()
    yield stopped
    counts._kept.clear()
    rate_limit.of_events.cache_clear()


def open_session() -> Any:
    return finn().post("/sessions", SESSION)


def create_task() -> Any:
    return mona().post("/tasks", TASK)


def route_task() -> Any:
    body = {"task": {"task_type": "routing"}, "target": "finance"}
    return mona().post("/tasks/route", body, idempotency_key=f"key-{Task.objects.count()}")


def claim() -> Any:
    return finn().post("/tasks/claim", {})


def two_open_sessions() -> None:
    session_in("pending"), session_in("active")
    for state in ("completed", "failed", "expired"):
        session_in(state)


def two_waiting_tasks() -> None:
    task_in("pending"), task_in("blocked")
    for state in ("active", "completed", "failed", "cancelled"):
        task_in(state)


def two_held_tasks() -> None:
    claimed(), claimed()
    routed(), task_in("completed")


QUOTAS: list[tuple[Quota, Callable[[], None], Callable[[], Any]]] = [
    (OPEN_SESSIONS, two_open_sessions, open_session),
    (PENDING_TASKS, two_waiting_tasks, create_task),
    (PENDING_TASKS, two_waiting_tasks, route_task),
    (HELD_LEASES, two_held_tasks, claim),
]
each_quota = pytest.mark.parametrize(("quota", "make_two", "call"), QUOTAS)


def complete_all() -> None:
    operator = Api(token("olga", "operator"))
    for session in Session.objects.exclude(status="completed"):
        for status in ("active", "completed")[session.status == "active" :]:
            assert operator.put(f"/sessions/{session.pk}", {"status": status}).status_code == 200


def rows() -> tuple[int, int, int]:
    active = Task.objects.filter(status="active").count()
    return Session.objects.count(), Task.objects.count(), active


@each_quota
def test_beyond_a_quota_the_answer_is_a_429_that_says_which(
    quota: Quota, make_two: Callable[[], None], call: Callable[[], Any], settings: Any
) -> None:
    make_two()
    setattr(settings, quota.setting, 2)
    before = rows()
    answer = call()
    assert (answer.status_code, answer.json()["type"]) == (429, "/problems/quota-exceeded")
    assert {name: answer.json()[name] for name in ("quota", "limit", "retry_after")} == {
        "quota": quota.name,
        "limit": 2,
        "retry_after": int(FRESH_SECONDS),
    }
    assert answer.headers["Retry-After"] == str(int(FRESH_SECONDS))
    assert answer.headers["RateLimit-Policy"] == f'"{quota.name}";q=2'
    assert answer.headers["RateLimit"] == f'"{quota.name}";r=0;t={int(FRESH_SECONDS)}'
    assert rows() == before


@each_quota
def test_up_to_a_quota_nothing_is_refused(
    quota: Quota, make_two: Callable[[], None], call: Callable[[], Any], settings: Any
) -> None:
    make_two()
    setattr(settings, quota.setting, 3)
    assert call().status_code < 300
    # What this process added counts before the rows are counted again.
    assert call().status_code == 429


def test_a_count_is_used_for_a_while_and_then_taken_again(settings: Any, clock: Clock) -> None:
    settings.QUOTA_OPEN_SESSIONS = 2
    assert open_session().status_code == 201
    session_in("pending")
    with CaptureQueriesContext(connection) as captured:
        assert open_session().status_code == 201
    assert not [one for one in captured if "AS counted" in one["sql"]]
    clock.now += FRESH_SECONDS
    assert open_session().status_code == 429
    complete_all()
    clock.now += FRESH_SECONDS
    assert open_session().status_code == 201


def test_a_tenant_does_not_use_up_the_quota_of_another(settings: Any) -> None:
    settings.QUOTA_OPEN_SESSIONS = 1
    session_in("pending")
    assert open_session().status_code == 429
    assert Api(token("fin", tenant="other")).post("/sessions", SESSION).status_code == 201


def test_a_refusal_by_a_quota_uses_up_no_key(settings: Any, clock: Clock) -> None:
    settings.QUOTA_OPEN_SESSIONS = 1
    session_in("pending")
    assert finn().post("/sessions", SESSION, idempotency_key="once").status_code == 429
    complete_all()
    clock.now += FRESH_SECONDS
    again = finn().post("/sessions", SESSION, idempotency_key="once")
    assert (again.status_code, "Idempotent-Replayed" in again.headers) == (201, False)


def test_no_more_rows_are_counted_than_the_quota_allows(settings: Any) -> None:
    settings.QUOTA_OPEN_SESSIONS = 2
    for _ in range(5):
        session_in("pending")
    assert OPEN_SESSIONS.count("default", 2) == 2


def test_the_rate_of_the_subject_is_told_beside_a_quota(settings: Any) -> None:
    settings.QUOTA_OPEN_SESSIONS, settings.RATE_LIMIT = 1, (10, 60)
    rate_limit.of_subjects.cache_clear()
    session_in("pending")
    try:
        answer = open_session()
    finally:
        rate_limit.of_subjects.cache_clear()
    assert answer.headers["RateLimit-Policy"] == '"subject";q=10;w=60, "open-sessions";q=1'


def test_a_tenant_that_recorded_too_many_events_waits(settings: Any) -> None:
    settings.QUOTA_EVENTS = (2, 60)
    buckets = rate_limit.of_events()
    assert buckets is not None
    buckets._clock = stopped = Clock()
    # One event when it was routed, one when it was claimed.
    held = claimed()
    refused = open_session()
    assert (refused.status_code, refused.json()["type"]) == (429, "/problems/too-many-requests")
    assert refused.headers["RateLimit-Policy"] == '"events";q=2;w=60'
    assert int(refused.headers["Retry-After"]) == 30
    # A read, a heartbeat and another tenant are let through.
    assert finn().get("/sessions").status_code == 200
    assert finn().post(path(held, "heartbeat"), held.body("heartbeat")).status_code == 200
    assert Api(token("fin", tenant="other")).post("/sessions", SESSION).status_code == 201
    stopped.now += 30
    assert open_session().status_code == 201


def test_each_event_of_a_call_is_counted(settings: Any) -> None:
    settings.QUOTA_EVENTS = (10, 60)
    buckets = rate_limit.of_events()
    assert buckets is not None
    buckets._clock = Clock()
    two = [{"approver_role": "manager"}, {"approver_role": "board"}]
    assert mona().post("/tasks", {**TASK, "requires_approval": two}).status_code == 201
    key = rate_limit._key("events", "default")
    assert buckets.take(key, 0).left == 7


def test_quotas_are_on_unless_they_are_set() -> None:
    defaults = {one.name: one.default for one in settings_of(SOURCES["The service"]) if one.name.startswith("QUOTA_")}
    assert defaults == {
        "QUOTA_EVENTS": "300000/60",
        "QUOTA_OPEN_SESSIONS": "100000",
        "QUOTA_PENDING_TASKS": "100000",
        "QUOTA_HELD_LEASES": "10000",
    }
