"""manage.py check --database default: who may write seals. And audit_let_worker_seal(), which says who."""

import io

import psycopg
import pytest
from django.core.management import call_command

from orchestrator import roles
from tests.database import owner_connection, service_connection, worker_connection

pytestmark = pytest.mark.django_db(transaction=True)


def warned() -> bool:
    said = io.StringIO()
    call_command("check", databases=["default"], stdout=said, stderr=said)
    return "audit.W001" in said.getvalue()


def test_warns_where_the_service_may_write_seals_until_the_owner_says_that_the_worker_does() -> None:
    assert not warned()
    with owner_connection() as owner:
        owner.execute(f"GRANT INSERT ON audit_seals TO {roles.SERVICE}")
        try:
            assert warned()
        finally:
            assert owner.execute("SELECT audit_let_worker_seal()").fetchone() == (True,)
    assert not warned()


def test_nobody_but_the_owner_says_who_may_write_seals() -> None:
    for connect in (service_connection, worker_connection):
        with connect() as beside, pytest.raises(psycopg.errors.InsufficientPrivilege):
            beside.execute("SELECT audit_let_worker_seal()")


@pytest.mark.parametrize(
    ("table", "right", "may"),
    [
        *(("audit_seals", "INSERT", True), ("audit_seals", "UPDATE", False), ("audit_seals", "DELETE", False)),
        *(("audit_sealer_state", "UPDATE", True), ("sessions", "UPDATE", True), ("audit_events", "UPDATE", False)),
        *(("sessions", "TRUNCATE", False), ("maintenance_jobs", "UPDATE", True)),
    ],
)
def test_the_worker_may_what_the_service_may_and_write_seals(table: str, right: str, *, may: bool) -> None:
    with worker_connection() as worker:
        assert worker.execute("SELECT has_table_privilege(%s, %s)", [table, right]).fetchone() == (may,)
        owned = worker.execute("SELECT count(*) FROM pg_class WHERE relowner = current_user::regrole").fetchone()
        assert owned == (0,)
        assert worker.execute("SELECT pg_has_role(current_user, %s, 'MEMBER')", [roles.OWNER]).fetchone() == (False,)
