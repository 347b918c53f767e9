"""What the database refuses of tasks and their leases, whatever SQL the service's role sends."""

from typing import Any

import pytest

from sessions_app.models import Task
from tests import work
from tests.sessions_app.task_calls import claimed, routed, stored, task_in
from tests.sessions_app.task_sql import HASH, assert_refused, run

pytestmark = pytest.mark.django_db(transaction=True)


def update_task(sets: str, task: Task, why: str) -> None:
    assert_refused(f"UPDATE tasks SET {sets} WHERE id = %s", task, why)


def test_a_heartbeat_needs_no_event() -> None:
    task = claimed().task
    run("UPDATE tasks SET lease_expires_at = clock_timestamp() + interval '9 s', progress = '{}' WHERE id = %s", task)
    assert stored(task).progress == {}
    assert stored(task).lease_expires_at != task.lease_expires_at
    work.assert_chain_holds(task)


OTHER: dict[str, Any] = {
    "task_type": "'another'",
    "description": "'another'",
    "from_role": "'another'",
    "to_role": "'another'",
    "data": "'{\"a\": 1}'",
    "context": "'{\"a\": 1}'",
    "priority": "9",
    "not_before": "now()",
    "deadline": "now()",
    "attempt": "2",
    "max_attempts": "9",
    "lease_seconds": "3600",
    "lease_issuer": "'elsewhere'",
    "lease_subject": "'fay'",
    "lease_for_issuer": "'local'",
    "lease_for_subject": "'petra'",
    "cancel_requested": "true",
    "output": "'{}'",
    "error": "'{}'",
    "trace_id": "'another'",
    "idempotency_key": "'another'",
    "retry_of_id": "id",
    "updated_at": "now()",
    "created_at": "now()",
    "created_by_issuer": "'elsewhere'",
    "created_by_subject": "'fay'",
    "on_behalf_of_issuer": "'local'",
    "on_behalf_of_subject": "'petra'",
    "tenant": "'other'",
    "version": "version + 1",
    "audit_head": HASH,
}
GUARDED = {"id", "status", "lease_epoch", "lease_token_hash"}
"""What has a guard of its own below, or in tests/sessions_app/test_completeness.py."""


def test_every_column_of_a_task_is_asked_about() -> None:
    columns = {field.column for field in Task._meta.concrete_fields}
    assert columns == {*OTHER, *GUARDED, *Task.UNTOLD}


@pytest.mark.parametrize("column", OTHER)
@pytest.mark.parametrize("also", ["", ", lease_expires_at = now(), progress = '{}'"])
def test_every_other_column_needs_one(column: str, also: str) -> None:
    update_task(
        f"{column} = {OTHER[column]}{also}", claimed().task, "does not follow its version|is not as its last event says"
    )


@pytest.mark.parametrize(
    "sets",
    [
        "lease_epoch = lease_epoch + 1",
        "lease_epoch = lease_epoch - 1",
        "lease_epoch = 0",
        f"lease_token_hash = {HASH}",
        f"lease_token_hash = {HASH}, lease_epoch = lease_epoch + 1",
    ],
)
def test_an_ownership_keeps_its_epoch_and_its_token(sets: str) -> None:
    update_task(sets, claimed().task, "no ownership leads from epoch")


NO_LEASE = ", ".join(
    f"lease_{name} = NULL"
    for name in ("token_hash", "seconds", "expires_at", "issuer", "subject", "for_issuer", "for_subject")
)
LEASE = (
    f"lease_token_hash = {HASH}, lease_seconds = 60, lease_expires_at = now(), lease_issuer = 'a', lease_subject = 'b'"
)


@pytest.mark.parametrize("epochs", ["0", "2", "-1"])
def test_an_ownership_begins_with_the_next_epoch(epochs: str) -> None:
    sets = f"status = 'active', {LEASE}, lease_epoch = lease_epoch + {epochs}"
    update_task(sets, routed(), "no ownership leads from epoch")


def test_an_epoch_stays_when_its_lease_ends() -> None:
    for epoch in ("0", "lease_epoch + 1"):
        sets = f"status = 'pending', {NO_LEASE}, lease_epoch = {epoch}"
        update_task(sets, claimed().task, "no ownership leads from epoch")


@pytest.mark.parametrize("column", ["token_hash", "seconds", "expires_at", "issuer", "subject"])
def test_an_active_task_has_a_whole_lease(column: str) -> None:
    update_task(f"lease_{column} = NULL", claimed().task, "tasks_lease")


@pytest.mark.parametrize("status", ["pending", "completed", "failed", "cancelled", "blocked"])
def test_no_other_task_has_one(status: str) -> None:
    update_task(f"status = '{status}'", claimed().task, "tasks_lease")


@pytest.mark.parametrize("column", ["lease_for_issuer", "lease_for_subject", "lease_issuer", "lease_subject"])
def test_nor_a_part_of_one(column: str) -> None:
    update_task(f"{column} = 'a'", routed(), "tasks_lease")


@pytest.mark.parametrize(
    ("sets", "why"),
    [
        ("lease_token_hash = decode('ab', 'hex'), lease_epoch = 2", "no ownership|tasks_lease_token_hash"),
        ("priority = 10", "tasks_priority"),
        ("priority = -1", "tasks_priority"),
        ("attempt = 0", "tasks_attempt"),
        ("attempt = max_attempts + 1", "tasks_attempt"),
        ("max_attempts = 21", "tasks_attempt"),
        ("version = 0", "tasks_version"),
    ],
)
def test_refuses_what_no_task_is(sets: str, why: str) -> None:
    update_task(sets, claimed().task, why)


def test_refuses_a_status_that_is_none() -> None:
    update_task("status = 'gone'", routed(), "tasks_status")


def test_a_task_is_retried_once() -> None:
    failed, other = task_in("failed"), routed()
    work.new_task(retry_of=failed)
    update_task(f"retry_of_id = '{failed.pk}'", other, "tasks_retry_of")
