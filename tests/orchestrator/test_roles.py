"""The two roles of the database, and what each may."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from orchestrator import roles
from tests.database import address, owner_connection, service_connection, superuser_connection

pytestmark = pytest.mark.django_db(transaction=True)

TABLES = ("sessions", "tasks", "approvals", "audit_events", "people_person", "django_migrations")


@pytest.fixture
def guest() -> Iterator[str]:
    """A role that may make roles but is no superuser, as a hosted database gives one; gone afterwards."""
    name = f"guest_of_{connection.settings_dict['NAME']}"
    with superuser_connection() as superuser:
        superuser.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE").format(sql.Identifier(name)))
        yield name
        superuser.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def one(connected: psycopg.Connection[Any], query: str, *values: object) -> Any:
    row = connected.execute(query, values).fetchone()
    assert row is not None
    return row[0]


def test_the_tests_run_as_the_service() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user")
        assert cursor.fetchone() == (roles.SERVICE, False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("statement_timeout", "10s"),
        ("lock_timeout", "3s"),
        ("idle_in_transaction_session_timeout", "15s"),
        ("client_connection_check_interval", "1s"),
        ("jit", "off"),
    ],
)
def test_the_service_has_the_limits_that_the_promises_rest_on(name: str, value: str) -> None:
    with service_connection() as service:
        assert one(service, "SELECT current_setting(%s)", name) == value
    with superuser_connection() as superuser:
        kept = one(superuser, "SELECT setconfig FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole"
                   " WHERE rolname = %s AND setdatabase = 0", roles.SERVICE)  # fmt: skip
        assert f"{name}={value}" in kept


def test_the_owner_is_not_held_to_the_limits_of_the_service() -> None:
    with owner_connection() as owner:
        assert one(owner, "SELECT current_user") == roles.OWNER
        assert one(owner, "SHOW statement_timeout") == "0"


def test_the_owner_gives_up_a_lock_before_writers_queue_behind_it() -> None:
    with superuser_connection() as superuser:
        kept = one(superuser, "SELECT rolconfig FROM pg_roles WHERE rolname = %s", roles.OWNER)
    assert kept == ["lock_timeout=2s"]


def test_the_service_owns_nothing() -> None:
    with service_connection() as service:
        owned = "SELECT count(*) FROM pg_class WHERE relowner = current_user::regrole"
        assert one(service, owned) == 0
        with owner_connection() as owner:
            assert one(owner, owned) > 0
        assert not one(service, "SELECT pg_has_role(current_user, %s, 'MEMBER')", roles.OWNER)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "ALTER TABLE sessions DISABLE TRIGGER ALL",
        "ALTER TABLE sessions DROP CONSTRAINT sessions_status",
        "DROP TABLE sessions",
        "CREATE OR REPLACE FUNCTION audit_is_complete() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "SET session_replication_role = replica",
        "COPY sessions TO PROGRAM 'true'",
        "DELETE FROM django_migrations",
        "DELETE FROM people_person",
    ],
)
def test_the_service_may_not_change_the_rules(statement: str) -> None:
    with service_connection() as service, pytest.raises(psycopg.errors.InsufficientPrivilege):
        service.execute(statement)


@pytest.mark.parametrize("table", TABLES)
def test_the_service_truncates_nothing(table: str) -> None:
    with service_connection() as service:
        service.execute(f"SELECT count(*) FROM {table}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            service.execute(f"TRUNCATE {table} CASCADE")


def test_the_service_only_adds_to_the_trail_and_does_not_say_when() -> None:
    with service_connection() as service:
        for statement in (
            "UPDATE audit_events SET reason = ''",
            "DELETE FROM audit_events",
            "INSERT INTO audit_events (xid) VALUES ('7')",
            "INSERT INTO audit_events (era) VALUES (7)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                service.execute(statement)


def test_the_roles_are_made_once() -> None:
    with superuser_connection() as superuser:
        before = superuser.execute("SELECT oid, rolname FROM pg_roles ORDER BY oid").fetchall()
        roles.make_roles(superuser)
        assert superuser.execute("SELECT oid, rolname FROM pg_roles ORDER BY oid").fetchall() == before


def test_a_missing_role_is_made_and_may_log_in() -> None:
    name = f"new_of_{connection.settings_dict['NAME']}"
    with superuser_connection() as superuser:
        roles.make_role(superuser, name)
        try:
            row = superuser.execute(
                "SELECT rolcanlogin, rolsuper, rolcreaterole FROM pg_roles WHERE rolname = %s", [name]
            ).fetchone()
            assert row == (True, False, False)
        finally:
            superuser.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_whoever_is_no_superuser_is_let_act_as_the_service(guest: str) -> None:
    # The guest has to be allowed to grant, as the one who makes the service's role is.
    with superuser_connection() as superuser:
        grant = sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(sql.Identifier(roles.SERVICE), sql.Identifier(guest))
        superuser.execute(grant)
        superuser.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(guest)))
        roles.let_current_user_act_as(superuser, roles.SERVICE)
        superuser.execute(f"SET ROLE {roles.SERVICE}")
        superuser.execute("RESET ROLE")
        superuser.execute(sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(roles.SERVICE), sql.Identifier(guest)))


def test_a_new_database_is_closed_to_everybody_else(guest: str) -> None:
    name = f'a "new" one of {connection.settings_dict["NAME"]}'
    with superuser_connection() as superuser:
        roles.make_database(superuser, name)
        try:
            roles.make_database(superuser, name)
            may = "SELECT has_database_privilege(%s, %s, %s)"
            assert one(superuser, may, roles.SERVICE, name, "CONNECT")
            assert not one(superuser, may, roles.SERVICE, name, "TEMPORARY")
            assert not one(superuser, may, roles.SERVICE, name, "CREATE")
            assert not one(superuser, may, guest, name, "CONNECT")
            owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s"
            assert one(superuser, owner, name) == roles.OWNER
        finally:
            superuser.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


def test_an_address_keeps_what_it_says_when_a_role_is_added() -> None:
    given = "postgresql://bob:p%20w%2F@db.example:5433/work?sslmode=require&options=-c%20work_mem%3D8MB"
    parts = conninfo_to_dict(roles.acting_as(given, roles.OWNER))
    assert parts.pop("options") == f"-c work_mem=8MB -c role={roles.OWNER}"
    before = conninfo_to_dict(given)
    before.pop("options")
    assert parts == before


def test_an_address_that_acts_as_the_service_brings_its_limits() -> None:
    parts = conninfo_to_dict(roles.acting_as("postgresql:///work", roles.SERVICE))
    for name, value in {"role": roles.SERVICE, **roles.SERVICE_SETTINGS}.items():
        assert f"-c {name}={value}" in str(parts["options"])
    with psycopg.connect(address(roles.SERVICE)) as service:
        assert one(service, "SELECT current_user") == roles.SERVICE
