"""task_attempts, and what the database refuses of them, whatever SQL the service's role sends."""

import pytest
from django.db import DatabaseError, connection

from sessions_app.models import Attempt, Task
from tests.database import without_trigger
from tests.sessions_app.task_calls import attempts, claimed, finn, path, routed, task_in
from tests.sessions_app.task_sql import HASH, assert_refused

pytestmark = pytest.mark.django_db(transaction=True)

CHANGED = {
    "id": "gen_random_uuid()",
    "task_id": "(SELECT id FROM tasks WHERE id <> task_id LIMIT 1)",
    "epoch": "epoch + 1",
    "attempt": "attempt + 1",
    "token_hash": HASH,
    "claimed_at": "claimed_at - interval '1 s'",
    "holder_issuer": "'elsewhere'",
    "holder_subject": "'fay'",
    "holder_for_issuer": "'local'",
    "holder_for_subject": "'petra'",
}
END = "ended_at = clock_timestamp(), outcome = 'released'"


def update_attempt(sets: str, task: Task, why: str) -> None:
    assert_refused(f"UPDATE task_attempts SET {sets} WHERE task_id = %s", task, why)


# What is kept of each ownership.


def test_each_ownership_is_kept_from_its_beginning_to_its_end() -> None:
    task = routed()
    for verb in ("release", "fail"):
        finn().post(path(task, verb), claimed(task).body(verb))
        if verb == "fail":
            with without_trigger("tasks", "tasks_complete_update"):
                Task.objects.filter(pk=task.pk).update(not_before=None)
    finn().post(path(task, "complete"), claimed(task).body("complete"))
    kept = attempts(task)
    assert [(one.epoch, one.attempt, one.outcome) for one in kept] == [
        (1, 1, "released"),
        (2, 1, "failed"),
        (3, 2, "completed"),
    ]
    assert all(one.ended_at is not None and one.claimed_at < one.ended_at for one in kept)
    assert [len(bytes(one.ended_by or b"")) for one in kept] == [32, 32, 32]
    assert len({bytes(one.token_hash) for one in kept}) == 3


# What the database refuses of attempts.


@pytest.mark.parametrize("column", CHANGED)
@pytest.mark.parametrize("with_its_end", [False, True])
def test_nothing_of_an_attempt_changes_but_its_end(column: str, with_its_end: bool) -> None:
    task = claimed().task
    routed()
    also = f", {END}" if with_its_end else ""
    update_attempt(f"{column} = {CHANGED[column]}{also}", task, "an attempt ends once")


def test_it_ends_once() -> None:
    task = task_in("completed")
    for sets in (END, "ended_at = NULL, outcome = NULL, ended_by = NULL", "error = '{}'", f"ended_by = {HASH}"):
        update_attempt(sets, task, "an attempt ends once")


@pytest.mark.parametrize(
    ("sets", "why"),
    [
        ("ended_at = clock_timestamp()", "task_attempts_ended"),
        ("ended_at = clock_timestamp(), outcome = 'lost'", "task_attempts_outcome"),
        ("outcome = 'released'", "an attempt ends once"),
        (f"ended_by = {HASH}", "an attempt ends once"),
    ],
)
def test_an_end_has_a_moment_and_a_known_outcome(sets: str, why: str) -> None:
    update_attempt(sets, claimed().task, why)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"epoch": "1"}, "task_attempts_epoch"),
        ({"token_hash": "decode('ab', 'hex')"}, "task_attempts_token_hash"),
        ({"task_id": "gen_random_uuid()"}, "task_attempts_task_id_fkey"),
        ({"token_hash": "NULL"}, "not-null"),
    ],
)
def test_refuses_an_attempt_that_is_none(values: dict[str, str], why: str) -> None:
    columns = {"id": "gen_random_uuid()", "epoch": "2", **values}
    kept = ("task_id", "attempt", "holder_issuer", "holder_subject", "token_hash", "claimed_at")
    names = [*columns, *(name for name in kept if name not in columns)]
    chosen = ", ".join(columns.get(name, name) for name in names)
    insert = f"INSERT INTO task_attempts ({', '.join(names)}) SELECT {chosen} FROM task_attempts WHERE task_id = %s"
    assert_refused(insert, claimed().task, why)


@pytest.mark.parametrize("sql", ["DELETE FROM task_attempts", "TRUNCATE task_attempts"])
def test_attempts_are_not_deleted_by_themselves(sql: str) -> None:
    claimed()
    with pytest.raises(DatabaseError, match="permission denied"), connection.cursor() as cursor:
        cursor.execute(sql)
    assert Attempt.objects.count() == 1
