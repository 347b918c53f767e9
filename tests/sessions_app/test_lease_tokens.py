"""The token of a lease: another for each, told once, and kept and logged nowhere."""

import logging

import pytest
from django.db import connection

from orchestrator.logs import JsonFormatter
from tests.sessions_app.task_calls import MONA, finn, path, routed, stored

pytestmark = pytest.mark.django_db(transaction=True)


def test_each_ownership_has_a_token_and_an_epoch_of_its_own() -> None:
    task = routed()
    leases = []
    for _ in range(3):
        [got] = finn().post("/tasks/claim").json()["tasks"]
        leases.append(got["lease"])
        finn().post(path(task, "release"), {"lease_token": got["lease"]["token"]})
    assert [lease["epoch"] for lease in leases] == [1, 2, 3]
    assert len({lease["token"] for lease in leases}) == 3


def test_the_token_is_kept_nowhere_and_logged_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    task = routed()
    [got] = finn().post("/tasks/claim").json()["tasks"]
    secret = got["lease"]["token"]
    for verb in ("heartbeat", "complete", "release"):
        finn().post(path(task, verb), {"lease_token": secret}, Idempotency_Key=f"key-{verb}")
    assert stored(task).status == "completed"
    assert all(secret not in text for text in _everything_stored())
    written = [*map(JsonFormatter().format, caplog.records), caplog.text]
    assert len(written) > 4
    assert all(secret not in text for text in written)


def _everything_stored() -> list[str]:
    """Every row of every table as text."""
    with connection.cursor() as cursor:
        tables = [name for name in connection.introspection.table_names() if name != "django_migrations"]
        assert {"tasks", "task_attempts", "audit_events"} <= set(tables)
        rows: list[str] = []
        for table in tables:
            cursor.execute("SELECT has_table_privilege(%s, 'SELECT')", [f'"{table}"'])
            if cursor.fetchone()[0]:
                cursor.execute(f'SELECT row_to_json(t)::text FROM "{table}" t')
                rows += [row for (row,) in cursor.fetchall()]
    assert any(str(MONA.identity.subject) in row for row in rows)
    return rows
