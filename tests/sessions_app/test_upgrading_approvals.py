"""The migrations of approvals, applied to rows of the version before, and while that version writes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from orchestrator import roles
from tests.work import GENESIS, insert, written

NAME = f"orchestrator_upgrade_{os.getpid()}"
BEFORE = (("people", "0004"), ("sessions_app", "0012"))
AT = datetime.now(UTC) - timedelta(days=90)
WHO = {"created_by_issuer": "local", "created_by_subject": "alice", "tenant": "default"}

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

Database = psycopg.Connection[Any]


def _address(role: str | None = None) -> str:
    server = os.environ["TEST_DATABASE_URL"]
    return make_conninfo(roles.acting_as(server, role) if role else server, dbname=NAME)


def _migrate(*to: str) -> None:
    owner = roles.acting_as(make_conninfo(os.environ["TEST_DATABASE_URL"], dbname=NAME), roles.OWNER)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.manage", "migrate", "-v0", *to],
        env={**os.environ, "TEST_DATABASE_URL": owner},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def before() -> Iterator[Database]:
    """The service's connection to a database of the version before."""
    with psycopg.connect(os.environ["TEST_DATABASE_URL"], autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {NAME}")
        roles.make_database(server, NAME)
        try:
            for app, migration in BEFORE:
                _migrate(app, migration)
            with psycopg.connect(_address(roles.SERVICE), autocommit=True) as service:
                yield service
        finally:
            server.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")


def _recorded(service: Database, table: str, noun: str, row: dict[str, Any], event_type: str, *, at: datetime) -> UUID:
    """Insert a row with its first event, as the version before does."""
    event = written(
        event_type=event_type,
        subject_type=noun,
        subject_id=row["id"],
        seq=1,
        prev_hash=GENESIS,
        to_status=row["status"],
        timestamp=at,
        tenant="default",
        metadata=json.dumps({"changes": {}}),
    )
    head = {"version": 1, "audit_head": event["hash"], "created_at": at, "updated_at": at}
    with service.transaction():
        insert(service, table, {**row, **WHO, **head})
        insert(service, "audit_events", event)
    return UUID(str(row["id"]))


def _task(service: Database, status: str, *, at: datetime) -> UUID:
    plain = {"task_type": "routing", "description": "", "from_role": "manager", "to_role": "finance"}
    numbers = {"priority": 5, "attempt": 1, "max_attempts": 3, "lease_epoch": 0, "cancel_requested": False}
    row = {"id": uuid4(), "status": status, "data": "{}", "context": "{}", "trace_id": "", **plain, **numbers}
    return _recorded(service, "tasks", "task", row, "task.created", at=at)


def _approval(service: Database, task: UUID, *, at: datetime) -> UUID:
    """A request as the version before inserts it: without the columns that came later."""
    row = {
        "id": uuid4(),
        "task_id": task,
        "approver_role": "manager",
        "status": "pending",
        "reason": "",
        "notes": "",
        "required_approvals": 1,
        "granted": 0,
        "blocks": True,
        "expires_at": datetime.now(UTC) + timedelta(days=1),
    }
    return _recorded(service, "approvals", "approval", row, "approval.created", at=at)


def _one(service: Database, sql: str, *values: Any) -> tuple[Any, ...]:
    found = service.execute(sql, values).fetchone()
    assert found is not None
    return tuple(found)


def test_rows_of_the_version_before_stay_valid_and_its_writes_go_on(before: Database) -> None:
    task = _task(before, "blocked", at=AT)
    asked = _approval(before, task, at=AT)
    before.execute(
        "INSERT INTO people_person (password, is_superuser, username, first_name, last_name, email, is_staff,"
        " is_active, date_joined, issuer, subject, tenant, roles, agent_roles) VALUES ('!', false, 'local|max', '', '',"
        " '', true, true, now(), 'local', 'max', 'default', '{approver}', '{manager}')"
    )
    _migrate()
    columns = "task_id, session_id, required, use_within_seconds, reopens_id, replaces_id"
    assert _one(before, f"SELECT {columns} FROM approvals WHERE id = %s", asked) == (task, None, True, None, None, None)
    # The version before goes on serving: its requests, decisions and people are written without the new columns.
    now = datetime.now(UTC)
    later = _approval(before, _task(before, "blocked", at=now), at=now)
    assert _one(before, "SELECT required, use_within_seconds FROM approvals WHERE id = %s", later) == (True, 86_400)
    decision = {
        "id": uuid4(),
        "approval_id": later,
        "decider_issuer": "local",
        "decider_subject": "max",
        "decider_kind": "person",
        "decision": "approved",
        "comments": "",
        "decided_at": datetime.now(UTC),
        "requester_issuer": "",
        "requester_subject": "",
    }
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="is not what was decided"):
        insert(before, "approval_decisions", decision)
    assert _one(before, "SELECT count(*) FROM people_same('default', 'local', 'max')") == (1,)
    assert _one(before, "SELECT people_admit('default', '{local}', '{max}')") == (True,)


def test_the_migrations_that_build_indexes_can_be_run_again(before: Database) -> None:
    for app, migration in (("people", "0006"), ("sessions_app", "0014")):
        _migrate(app, migration)
        with psycopg.connect(_address(roles.OWNER), autocommit=True) as owner:
            owner.execute("DELETE FROM django_migrations WHERE app = %s AND name LIKE %s", [app, f"{migration}%"])
    _migrate()
    assert _one(before, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == (0,)
