"""A refusal that is repeated within a minute is counted, and the count is recorded."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from audit_app.trail import instant
from orchestrator.maintenance.jobs import Incomplete
from orchestrator.maintenance.models import PoisonRow
from sessions_app import jobs, sweeping
from sessions_app.models import RefusalCount, Task
from sessions_app.transitions import refusing
from tests.api import Api, token
from tests.database import service_connection
from tests.refusal_counts import repeated
from tests.sessions_app.task_calls import Held, attempted, claimed, finn, mona, path, refused, stored
from tests.statements import first_words
from tests.work import in_a_thread

pytestmark = pytest.mark.django_db(transaction=True)

STRANGER = "fiona"


@pytest.fixture
def one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no minute begin during the test: all refusals are counted in the one that comes."""
    to_come = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    now = "date_trunc('minute', now.at)"
    assert now in refusing._COUNT
    monkeypatch.setattr(refusing, "_COUNT", refusing._COUNT.replace(now, f"'{to_come.isoformat()}'::timestamptz"))


in_one_minute = pytest.mark.usefixtures("one_minute")


def stranger() -> Api:
    """An agent of the role that does not hold the task."""
    return Api(token(STRANGER))


def beat(held: Held, caller: Api, **fields: Any) -> int:
    return int(caller.post(path(held, "heartbeat"), held.body("heartbeat", **fields)).status_code)


def end_minute() -> None:
    """Let the minute of each count be over, and leave its times as they are."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE refusal_counts SET minute = minute - interval '3 minutes'")


def recorded(task: Task) -> int:
    """Return how many refusals of a task the trail tells of."""
    return sum(attempted(event).get("repeated", 1) for event in refused(task))


def minutes(task: Task) -> int:
    """Return in how many minutes the refusals of a task began."""
    return RefusalCount.objects.filter(subject_id=task.pk).count()


def test_500_refused_heartbeats_are_two_events_a_minute_and_none_is_lost() -> None:
    held = claimed()
    callers = [stranger() for _ in range(8)]
    each = [in_a_thread(lambda caller=caller: [beat(held, caller) for _ in range(63)]) for caller in callers]  # type: ignore[misc]
    answers = [status for calls in each for status in calls.result(120)]
    assert answers == [409] * 504
    began = minutes(held.task)
    assert len(refused(held.task)) == began
    assert len(refused(held.task)) + len(repeated(held.task.pk)) == 504
    end_minute()
    assert jobs.record_refusals() == f"{504 - began} repeated refusals recorded."
    assert len(refused(held.task)) == 2 * began
    assert recorded(held.task) == 504
    assert stored(held.task).version == held.task.version


@in_one_minute
def test_the_count_says_who_what_how_often_and_when() -> None:
    held = claimed()
    for n in range(3):
        assert stranger().post(path(held, "heartbeat"), held.body("heartbeat"), x_request_id=f"try-{n:05}").status_code
    [count] = RefusalCount.objects.all()
    end_minute()
    assert jobs.record_refusals() == "2 repeated refusals recorded."
    first, again = refused(held.task)
    assert attempted(first) == {"attempted": "heartbeat", "version": 2}
    assert attempted(again) == {
        "attempted": "heartbeat",
        "version": 2,
        "repeated": 2,
        "first_at": instant(count.first_at),
        "last_at": instant(count.last_at),
    }
    for name in ("event_type", "reason", "tenant", "role", "actor_issuer", "actor_subject", "actor_kind", "via", "seq"):
        assert again[name] == first[name], name
    assert again["request_id"] == "try-00002"
    assert not RefusalCount.objects.exists()
    assert jobs.record_refusals() == "0 repeated refusals recorded."


def test_a_refusal_that_is_not_repeated_leaves_no_second_event() -> None:
    held = claimed()
    beat(held, stranger())
    end_minute()
    assert jobs.record_refusals() == "0 repeated refusals recorded."
    assert len(refused(held.task)) == 1
    assert not RefusalCount.objects.exists()


@in_one_minute
def test_each_kind_subject_and_row_has_an_event_of_its_own() -> None:
    one, other = claimed(), claimed()
    for held in (one, other):
        for caller in (stranger(), Api(token("frida"))):
            for verb in ("heartbeat", "complete"):
                for _ in range(2):
                    caller.post(path(held, verb), held.body(verb))
    assert [len(refused(held.task)) for held in (one, other)] == [4, 4]
    assert len(repeated()) == 8


@in_one_minute
def test_the_present_minute_is_not_recorded_yet() -> None:
    held = claimed()
    for _ in range(2):
        beat(held, stranger())
    assert jobs.record_refusals() == "0 repeated refusals recorded."
    assert len(repeated()) == 1


@in_one_minute
def test_a_right_that_is_lacking_is_counted_too() -> None:
    held = claimed()
    for _ in range(3):
        assert mona().post(path(held, "release"), held.body("release")).status_code == 403
    assert [event["reason"] for event in refused(held.task)] == ["forbidden"]
    assert len(repeated(held.task.pk)) == 2


@in_one_minute
def test_a_repetition_costs_one_statement_after_the_refused_ones() -> None:
    held = claimed()
    finn(), beat(held, stranger())
    with CaptureQueriesContext(connection) as captured:
        assert beat(held, stranger()) == 409
    words = first_words(captured)
    assert words[words.index("ROLLBACK") + 1 :] == ["BEGIN", "INSERT", "COMMIT"]


@in_one_minute
def test_many_counts_are_recorded_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "BATCH", 2)
    helds = [claimed() for _ in range(5)]
    for held in helds:
        for _ in range(2):
            beat(held, stranger())
    end_minute()
    assert jobs.record_refusals() == "5 repeated refusals recorded."
    assert [recorded(held.task) for held in helds] == [2] * 5


@in_one_minute
def test_counts_that_another_process_is_recording_are_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "_PATIENCE_SECONDS", 0)
    held = claimed()
    for _ in range(2):
        beat(held, stranger())
    end_minute()
    with service_connection() as beside, beside.transaction():
        beside.execute("SELECT FROM refusal_counts FOR UPDATE")
        assert jobs.record_refusals() == "0 repeated refusals recorded."
    assert jobs.record_refusals() == "1 repeated refusal recorded."
    assert recorded(held.task) == 2


@in_one_minute
def test_a_count_that_cannot_be_an_event_keeps_no_other_from_the_trail() -> None:
    broken, *others = [claimed() for _ in range(3)]
    for held in (broken, *others):
        for _ in range(2):
            beat(held, stranger())
    end_minute()
    counts = RefusalCount.objects.filter(subject_id=broken.task.pk)
    kind = counts.get().actor_kind
    counts.update(actor_kind="ghost")
    with pytest.raises(Incomplete, match=r"^2 repeated refusals recorded, 1 could not be: .*ghost"):
        jobs.record_refusals()
    assert [recorded(held.task) for held in (broken, *others)] == [1, 2, 2]
    counts.update(actor_kind=kind)
    with pytest.raises(Incomplete, match=r"^0 repeated refusals recorded, 1 could not be"):
        jobs.record_refusals()
    PoisonRow.objects.update(retry_at=Now())
    assert jobs.record_refusals() == "1 repeated refusal recorded."
    assert (recorded(broken.task), PoisonRow.objects.count()) == (2, 0)
