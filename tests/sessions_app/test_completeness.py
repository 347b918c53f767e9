"""Sessions, tasks and approvals move with their event or not at all, whatever SQL the service's role sends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import connection
from psycopg import sql
from psycopg.errors import (
    CheckViolation,
    InsufficientPrivilege,
    IntegrityConstraintViolation,
    NotNullViolation,
    RestrictViolation,
)

from sessions_app.models import Approval, Recorded, Task
from tests import work
from tests.database import owner_connection, service_connection, superuser_connection, without_trigger

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def events_without_a_change(transactional_db: None) -> Iterator[None]:
    """Events may stand alone here, so that what else refuses them is seen; tests/audit_app/test_events_are_true.py."""
    with without_trigger("audit_events", "audit_events_are_true"):
        yield


Beside = psycopg.Connection[Any]
Columns = dict[str, Any]

MAKE: dict[str, Callable[[], Recorded]] = {
    "session": work.open_session,
    "task": work.new_task,
    "approval": lambda: work.new_approval(work.new_task()),
}
# Moves that need nothing beside their event: neither a lease nor anybody's decision.
NEXT = {"session": "active", "task": "blocked", "approval": "cancelled"}
OTHER = {"session": "completed", "task": "cancelled", "approval": "expired"}
UNTOLD = [
    ("session", "metadata", '{"n": 1}'),
    ("session", "role", "manager"),
    ("session", "reason", "another"),
    ("session", "expires_at", "2100-01-01T00:00Z"),
    ("task", "data", '{"n": 1}'),
    ("task", "description", "another"),
    ("task", "to_role", "manager"),
    ("task", "trace_id", "trace-2"),
    ("approval", "notes", "another"),
    ("approval", "approver_role", "finance"),
    ("approval", "decision_at", "2100-01-01T00:00Z"),
]


@pytest.fixture(params=list(MAKE))
def row(request: pytest.FixtureRequest) -> Recorded:
    """A pending row at version 1, as production makes it."""
    return MAKE[request.param]()


def _table(row: Recorded) -> str:
    return row._meta.db_table


def _stored(row: Recorded) -> Columns | None:
    """The row's columns by name, JSON as text."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {_table(row)} WHERE id = %s", [row.pk])
        values = cursor.fetchone()
        return values and dict(zip([column.name for column in cursor.description], values, strict=True))


def _newborn(row: Recorded, **columns: Any) -> tuple[Columns, work.Event]:
    """The columns of a new row like this one, and its first event, true to each other unless told otherwise."""
    born = {**(_stored(row) or {}), "id": uuid4(), "version": 1}
    first = {"event_type": f"{row.NOUN}.created", "seq": 1, "from_status": None, "prev_hash": work.GENESIS}
    event = work.written_for(row, **{"subject_id": born["id"], **first, **columns})
    return {**born, "audit_head": event["hash"]}, event


@contextmanager
def _transaction() -> Iterator[Beside]:
    """One transaction of the service's role."""
    with service_connection() as beside, beside.transaction():
        yield beside


def _tell(beside: Beside, event: work.Event) -> None:
    work.insert(beside, "audit_events", event)


def _update(beside: Beside, row: Recorded, **columns: Any) -> None:
    sets = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in columns)
    update = sql.SQL("UPDATE {} SET {} WHERE id = %s").format(sql.Identifier(_table(row)), sets)
    assert beside.execute(update, [*columns.values(), row.pk]).rowcount == 1


def _delete(beside: Beside, row: Recorded) -> None:
    assert beside.execute(f"DELETE FROM {_table(row)} WHERE id = %s", [row.pk]).rowcount == 1


def _as_told(event: work.Event, **columns: Any) -> Columns:
    """What a row is after an event, unless told otherwise."""
    return {"status": event["to_status"], "version": event["seq"], "audit_head": event["hash"], **columns}


def _move(row: Recorded, event: work.Event, **columns: Any) -> None:
    """Tell an event and make the row what it says, unless told otherwise, in one transaction."""
    with _transaction() as beside:
        _tell(beside, event)
        _update(beside, row, **_as_told(event, **columns))


def _next(row: Recorded, **columns: Any) -> work.Event:
    """The event of a row's next move, unless told otherwise."""
    return work.written_for(row, **{"to_status": NEXT[row.NOUN], **columns})


def _deleted(row: Recorded, **columns: Any) -> work.Event:
    """The event of a row's deletion, unless told otherwise."""
    return work.written_for(row, **{"event_type": f"{row.NOUN}.deleted", "to_status": None, **columns})


@contextmanager
def _refused(row: Recorded, why: str) -> Iterator[None]:
    """The block is refused by the completeness trigger, for this reason, and leaves row and trail as they were."""
    before, trail = _stored(row), work.events()
    with pytest.raises(IntegrityConstraintViolation, match=why):
        yield
    assert (_stored(row), work.events()) == (before, trail)


UNTRUE = "is not as its last event says"
UNFOLLOWED = "does not follow its version"
UNBORN = "does not begin at version 1"
UNDELETED = "was deleted without its event"


# What passes.


def test_passes_a_move_with_its_event(row: Recorded) -> None:
    event = _next(row)
    with _transaction() as beside:
        _update(beside, row, **_as_told(event))
        _tell(beside, event)
    work.assert_chain_holds(row)


@pytest.fixture
def only_events() -> Iterator[None]:
    """Lift the guards on moves and deletions of approvals, so that those on events speak alone."""
    lifted = (without_trigger("approvals", f"approvals_z_{name}") for name in ("legal_moves", "go_with_their_subject"))
    with next(lifted), next(lifted):
        yield


def test_passes_several_moves_in_one_transaction(row: Recorded, only_events: None) -> None:
    first = _next(row)
    second = _next(row, seq=3, from_status=first["to_status"], to_status=OTHER[row.NOUN], prev_hash=first["hash"])
    with _transaction() as beside:
        for event in (first, second):
            _tell(beside, event)
            _update(beside, row, **_as_told(event))
    work.assert_chain_holds(row)


def test_passes_an_insert_with_its_event(row: Recorded) -> None:
    born, event = _newborn(row)
    with _transaction() as beside:
        work.insert(beside, _table(row), born)
        _tell(beside, event)
    assert len(work.events("subject_id = %s", born["id"])) == 1


def test_passes_a_deletion_with_its_event(row: Recorded, only_events: None) -> None:
    with _transaction() as beside:
        _delete(beside, row)
        _tell(beside, _deleted(row))
    assert _stored(row) is None
    assert len(work.chain(row)) == 2


def test_passes_an_update_that_changes_nothing(row: Recorded) -> None:
    with _transaction() as beside:
        _update(beside, row, status=str(row.status), version=row.version)
    work.assert_chain_holds(row)


def test_passes_what_production_does() -> None:
    session = work.open_session(task=work.new_task(), metadata={"quarter": "Q4"})
    session = work.move_session(work.amend_session(session, metadata={}), "active", "completed")
    work.assert_chain_holds(session)


# A change without its event.


def test_refuses_a_status_without_an_event(row: Recorded) -> None:
    with _refused(row, UNTRUE), _transaction() as beside:
        _update(beside, row, status=NEXT[row.NOUN])


def test_refuses_a_status_and_version_without_an_event(row: Recorded) -> None:
    with _refused(row, UNTRUE), _transaction() as beside:
        _update(beside, row, **_as_told(_next(row)))


def test_refuses_an_audit_head_alone(row: Recorded) -> None:
    with _refused(row, UNTRUE), _transaction() as beside:
        _update(beside, row, audit_head=bytes(32))


def test_refuses_a_version_alone(row: Recorded) -> None:
    with _refused(row, UNTRUE), _transaction() as beside:
        _update(beside, row, version=2)


@pytest.fixture
def questions_may_change() -> Iterator[None]:
    """What is asked may change here, so that what else refuses it is seen; test_decisions_in_the_database.py."""
    with without_trigger("approvals", "approvals_keep_their_question"):
        yield


@pytest.mark.usefixtures("questions_may_change")
@pytest.mark.parametrize(("noun", "column", "value"), UNTOLD)
def test_refuses_contents_without_an_event(noun: str, column: str, value: str) -> None:
    row = MAKE[noun]()
    with _refused(row, UNFOLLOWED), _transaction() as beside:
        _update(beside, row, **{column: value})


@pytest.mark.usefixtures("questions_may_change")
@pytest.mark.parametrize("column", ["created_at", "updated_at", "created_by_subject", "on_behalf_of_subject"])
def test_refuses_another_origin_without_an_event(row: Recorded, column: str) -> None:
    with _refused(row, UNFOLLOWED), _transaction() as beside:
        _update(beside, row, **{column: "2000-01-01T00:00Z"})


def test_refuses_a_second_move_without_an_event(row: Recorded) -> None:
    event = _next(row)
    with _refused(row, UNTRUE), _transaction() as beside:
        _tell(beside, event)
        _update(beside, row, **_as_told(event))
        _update(beside, row, status=OTHER[row.NOUN])


def test_refuses_a_change_that_is_taken_back(row: Recorded) -> None:
    with _refused(row, UNTRUE), _transaction() as beside:
        _update(beside, row, status=NEXT[row.NOUN])
        _update(beside, row, status=str(row.status))


def test_refuses_a_move_by_upsert(row: Recorded) -> None:
    columns = {**(_stored(row) or {}), "status": NEXT[row.NOUN]}
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    values = sql.SQL(", ").join([sql.Placeholder()] * len(columns))
    upsert = "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT (id) DO UPDATE SET status = EXCLUDED.status"
    with _refused(row, UNTRUE), _transaction() as beside:
        beside.execute(sql.SQL(upsert).format(sql.Identifier(_table(row)), names, values), list(columns.values()))


# A change with the wrong event.


def test_refuses_a_version_that_does_not_move(row: Recorded) -> None:
    event = _next(row)
    with _refused(row, UNTRUE):
        _move(row, event, version=1)


def test_refuses_a_skipped_version(row: Recorded) -> None:
    event = _next(row, seq=3)
    with _refused(row, UNFOLLOWED):
        _move(row, event)


def test_refuses_to_go_back_to_an_earlier_version(row: Recorded) -> None:
    before = _stored(row) or {}
    event = _next(row)
    _move(row, event)
    with _refused(row, UNFOLLOWED), _transaction() as beside:
        _update(beside, row, **{name: before[name] for name in ("status", "version", "audit_head")})


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"to_status": None}, UNTRUE),
        ({"tenant": "another"}, UNTRUE),
        ({"subject_type": "other"}, UNTRUE),
        ({"subject_id": uuid4()}, UNTRUE),
        ({"seq": None}, UNTRUE),
        ({"prev_hash": bytes(32)}, UNFOLLOWED),
        ({"from_status": "failed"}, UNFOLLOWED),
        ({"from_status": None}, UNFOLLOWED),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_refuses_an_event_of_another(row: Recorded, told: Columns, why: str) -> None:
    event = _next(row, **told)
    with _refused(row, why):
        _move(row, event, status=NEXT[row.NOUN], version=2)


def test_refuses_an_event_of_another_status(row: Recorded) -> None:
    event = _next(row, to_status=OTHER[row.NOUN])
    with _refused(row, UNTRUE):
        _move(row, event, status=NEXT[row.NOUN])


def test_refuses_an_event_that_says_deleted(row: Recorded) -> None:
    event = _next(row, event_type=f"{row.NOUN}.deleted")
    with _refused(row, UNTRUE):
        _move(row, event)


def test_refuses_an_audit_head_that_is_not_the_event_s(row: Recorded) -> None:
    event = _next(row)
    with _refused(row, UNTRUE):
        _move(row, event, audit_head=bytes(row.audit_head))


def test_refuses_another_tenant(row: Recorded) -> None:
    event = _next(row, tenant="another")
    with _refused(row, UNFOLLOWED):
        _move(row, event, tenant="another")


def test_refuses_another_id(row: Recorded) -> None:
    another = uuid4()
    event = _next(row, subject_id=another)
    with _refused(row, UNFOLLOWED):
        _move(row, event, id=another)


# A row that comes or goes.


def test_refuses_an_insert_without_an_event(row: Recorded) -> None:
    born, _ = _newborn(row)
    with _refused(row, UNTRUE), _transaction() as beside:
        work.insert(beside, _table(row), born)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"from_status": "pending"}, UNBORN),
        ({"prev_hash": b"\1" * 32}, UNBORN),
        ({"tenant": "another"}, UNTRUE),
        ({"to_status": "failed"}, UNTRUE),
        ({"subject_type": "other"}, UNTRUE),
        ({"subject_id": uuid4()}, UNTRUE),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_refuses_an_insert_with_an_event_of_another(row: Recorded, told: Columns, why: str) -> None:
    born, event = _newborn(row, **told)
    with _refused(row, why), _transaction() as beside:
        _tell(beside, event)
        work.insert(beside, _table(row), born)


@pytest.mark.parametrize("told", [{}, {"from_status": None, "prev_hash": work.GENESIS}], ids=["second", "first"])
@pytest.mark.parametrize("with_the_first", [True, False], ids=["with the first event", "without it"])
def test_refuses_an_insert_at_version_2(row: Recorded, with_the_first: bool, told: Columns) -> None:
    born, event = _newborn(row)
    second = work.written_for(row, **{"subject_id": born["id"], "seq": 2, "prev_hash": event["hash"], **told})
    with _refused(row, UNBORN), _transaction() as beside:
        if with_the_first:
            _tell(beside, event)
        _tell(beside, second)
        work.insert(beside, _table(row), {**born, "version": 2, "audit_head": second["hash"]})


def test_refuses_a_deletion_without_an_event(row: Recorded) -> None:
    with _refused(row, UNDELETED), _transaction() as beside:
        _delete(beside, row)


@pytest.mark.parametrize(
    "told",
    [
        {"event_type": "session.expired"},
        {"event_type": "other.deleted"},
        {"seq": 3},
        {"tenant": "another"},
        {"prev_hash": bytes(32)},
        {"subject_type": "other"},
    ],
    ids="-".join,
)
def test_refuses_a_deletion_with_another_event(row: Recorded, told: Columns) -> None:
    with _refused(row, UNDELETED), _transaction() as beside:
        _tell(beside, _deleted(row, **told))
        _delete(beside, row)


def test_refuses_to_bring_back_what_was_deleted(row: Recorded, only_events: None) -> None:
    before = _stored(row) or {}
    with _transaction() as beside:
        _tell(beside, _deleted(row))
        _delete(beside, row)
    with _refused(row, ".*"), _transaction() as beside:
        work.insert(beside, _table(row), before)


def test_refuses_to_delete_and_keep_in_one_transaction(row: Recorded, only_events: None) -> None:
    before = _stored(row) or {}
    with _refused(row, ".*"), _transaction() as beside:
        _tell(beside, _deleted(row))
        _delete(beside, row)
        work.insert(beside, _table(row), before)


# The approvals of a task go with it, by the database's cascade: each with an event of its own.


def _asked_about_twice() -> tuple[Task, list[Approval]]:
    """A task as it is once two approvals were asked about it, and these."""
    task = work.new_task()
    approvals = [work.new_approval(task), work.new_approval(task)]
    return Task.objects.get(pk=task.pk), approvals


def test_approvals_go_with_their_task() -> None:
    task, approvals = _asked_about_twice()
    with _transaction() as beside:
        for row in (*approvals, task):
            _tell(beside, _deleted(row))
        _delete(beside, task)
    for row in (*approvals, task):
        assert _stored(row) is None
        events = [event["event_type"] for event in work.chain(row)]
        assert (events[0], events[-1]) == (f"{row.NOUN}.created", f"{row.NOUN}.deleted")


def test_refuses_a_cascade_that_forgets_an_approval() -> None:
    task, (told, forgotten) = _asked_about_twice()
    with _refused(forgotten, f"approval {forgotten.pk} {UNDELETED}"), _transaction() as beside:
        for row in (told, task):
            _tell(beside, _deleted(row))
        _delete(beside, task)
    assert _stored(task) is not None


# Ways round the trigger.


@pytest.fixture
def temporary_tables() -> Iterator[None]:
    """Let the service make temporary tables, which it may not in production."""
    database = sql.Identifier(connection.settings_dict["NAME"])
    role = sql.SQL("orchestrator_service")
    with superuser_connection() as beside:
        beside.execute(sql.SQL("GRANT TEMPORARY ON DATABASE {} TO {}").format(database, role))
        yield
        beside.execute(sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM {}").format(database, role))


@pytest.mark.usefixtures("temporary_tables")
@pytest.mark.parametrize("path", ["public", "pg_temp, public", "pg_temp"])
@pytest.mark.parametrize("kind", ["TABLE", "VIEW"])
def test_does_not_believe_a_temporary_trail(row: Recorded, path: str, kind: str) -> None:
    event = _next(row)
    with _refused(row, UNTRUE), _transaction() as beside:
        beside.execute("CREATE TEMP TABLE told (LIKE public.audit_events)")
        work.insert(beside, "told", {**event, "xid": "1", "era": 1})
        beside.execute(f"CREATE TEMP {kind} audit_events AS SELECT * FROM told")
        beside.execute(f"SET LOCAL search_path = {path}")
        beside.execute(
            sql.SQL("UPDATE public.{} SET status = %s, version = %s, audit_head = %s WHERE id = %s").format(
                sql.Identifier(_table(row))
            ),
            [*_as_told(event).values(), row.pk],
        )


def test_refuses_an_event_that_was_rolled_back_alone(row: Recorded) -> None:
    event = _next(row)
    with _refused(row, UNTRUE), _transaction() as beside:
        _update(beside, row, **_as_told(event))
        beside.execute("SAVEPOINT told")
        _tell(beside, event)
        beside.execute("ROLLBACK TO told")


@pytest.mark.parametrize(
    ("before", "after"),
    [("ALL IMMEDIATE", "ALL DEFERRED"), ("ALL DEFERRED", "ALL IMMEDIATE"), ("ALL DEFERRED", "ALL DEFERRED")],
)
def test_refuses_a_change_in_whatever_mode_the_constraints_are(row: Recorded, before: str, after: str) -> None:
    with _refused(row, UNTRUE), _transaction() as beside:
        beside.execute(f"SET CONSTRAINTS {before}")
        _update(beside, row, **_as_told(_next(row)))
        beside.execute(f"SET CONSTRAINTS {after}")


@pytest.mark.parametrize(
    "statement",
    [
        "SET session_replication_role = replica",
        "ALTER TABLE {table} DISABLE TRIGGER ALL",
        "ALTER TABLE {table} DISABLE TRIGGER {table}_complete_update",
        "DROP TRIGGER {table}_complete ON {table}",
        "ALTER TABLE {table} DROP CONSTRAINT {table}_status",
        "CREATE RULE quiet AS ON DELETE TO {table} DO INSTEAD NOTHING",
        "CREATE TRIGGER quiet BEFORE UPDATE ON {table} EXECUTE FUNCTION work_refuse_truncate()",
        "CREATE TABLE heir () INHERITS ({table})",
        "CREATE FUNCTION public.octet_length(bytea) RETURNS int LANGUAGE sql AS 'SELECT 32'",
        "CREATE OR REPLACE FUNCTION audit_is_complete() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "ALTER FUNCTION audit_is_complete() RENAME TO forgotten",
        "DROP FUNCTION audit_is_complete()",
        "TRUNCATE {table} CASCADE",
        "DROP TABLE {table} CASCADE",
    ],
)
def test_the_service_cannot_lift_the_guards(row: Recorded, statement: str) -> None:
    before = _stored(row)
    with pytest.raises(InsufficientPrivilege), _transaction() as beside:
        beside.execute(statement.format(table=_table(row)))
    assert _stored(row) == before


@pytest.mark.parametrize("connect", [owner_connection, superuser_connection], ids=["owner", "superuser"])
def test_refuses_to_truncate_for_anybody(row: Recorded, connect: Callable[[], Beside]) -> None:
    with connect() as beside, pytest.raises(RestrictViolation):
        beside.execute(f"TRUNCATE {_table(row)} CASCADE")
    assert _stored(row) is not None


@pytest.mark.parametrize("statement", ["UPDATE {} SET tenant = 'another'", "DELETE FROM {}"])
def test_refuses_a_superuser_under_the_role_of_a_replica(row: Recorded, statement: str) -> None:
    with superuser_connection() as beside, _refused(row, f"{UNTRUE}|{UNDELETED}"):
        beside.execute("SET session_replication_role = replica")
        beside.execute(statement.format(_table(row)))


def test_refuses_to_truncate_under_the_role_of_a_replica(row: Recorded) -> None:
    with superuser_connection() as beside:
        beside.execute("SET session_replication_role = replica")
        with pytest.raises(RestrictViolation):
            beside.execute(f"TRUNCATE {_table(row)} CASCADE")
    assert _stored(row) is not None


# What a column may hold, whatever the event says.


@pytest.mark.parametrize("status", ["running", "Active", "", " active"])
def test_refuses_a_status_that_there_is_not(row: Recorded, status: str) -> None:
    event = _next(row, to_status=status)
    with pytest.raises(CheckViolation) as refusal:
        _move(row, event)
    assert refusal.value.diag.constraint_name == f"{_table(row)}_status"
    work.assert_chain_holds(row)


@pytest.mark.parametrize(
    ("column", "value", "constraint"),
    [("version", 0, "version"), ("version", -1, "version"), ("audit_head", bytes(31), "audit_head")],
)
def test_refuses_a_value_that_no_row_can_have(row: Recorded, column: str, value: Any, constraint: str) -> None:
    with pytest.raises(CheckViolation) as refusal, _transaction() as beside:
        _update(beside, row, **{column: value})
    assert refusal.value.diag.constraint_name == f"{_table(row)}_{constraint}"


@pytest.mark.parametrize("column", ["status", "version", "audit_head", "tenant"])
def test_refuses_a_row_without(row: Recorded, column: str) -> None:
    with pytest.raises(NotNullViolation), _transaction() as beside:
        _update(beside, row, **{column: None})
