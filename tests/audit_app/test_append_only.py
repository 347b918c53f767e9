"""audit_events: what is written stays as it is, and says what its hash was taken over."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.errors import (
    CheckViolation,
    InsufficientPrivilege,
    InvalidTextRepresentation,
    NotNullViolation,
    RestrictViolation,
    UniqueViolation,
)

from tests import work
from tests.database import owner_connection, service_connection, superuser_connection, without_trigger

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def events_without_a_change(transactional_db: None) -> Iterator[None]:
    """Events may stand alone here, and be of any time, so that what else refuses them is seen.

    The two triggers have tests of their own: test_events_are_true.py and test_time_guard.py.
    """
    with (
        without_trigger("audit_events", "audit_events_are_true"),
        without_trigger("audit_events", "audit_events_of_now"),
    ):
        yield


ANOTHER = UUID("018f0000-0000-7000-8000-000000000000")

Connect = Callable[[], psycopg.Connection[Any]]

REWRITES = {
    "update": "UPDATE audit_events SET reason = 'another'",
    "update of no row": "UPDATE audit_events SET reason = 'another' WHERE false",
    "delete": "DELETE FROM audit_events",
    "delete of no row": "DELETE FROM audit_events WHERE false",
    "truncate": "TRUNCATE audit_events",
    "truncate with what refers to it": "TRUNCATE audit_events CASCADE",
    "update by insert": """
        INSERT INTO audit_events SELECT * FROM audit_events ON CONFLICT (id) DO UPDATE SET reason = 'another'""",
    "update by merge": """
        MERGE INTO audit_events old USING audit_events new ON old.id = new.id
        WHEN MATCHED THEN UPDATE SET reason = 'another'""",
    "delete by merge": """
        MERGE INTO audit_events old USING audit_events new ON old.id = new.id WHEN MATCHED THEN DELETE""",
}
rewriting = pytest.mark.parametrize("statement", REWRITES.values(), ids=REWRITES.keys())


@pytest.fixture
def event() -> work.Event:
    """The one event that there is."""
    work.open_session()
    (event,) = work.events()
    return event


def _attempt(connect: Connect, *statements: str) -> None:
    with connect() as beside:
        for statement in statements:
            beside.execute(statement)


@rewriting
def test_the_service_has_no_right_to_rewrite_events(event: work.Event, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        _attempt(service_connection, statement)
    assert work.events() == [event]


@rewriting
def test_refuses_to_rewrite_events_for_their_owner(event: work.Event, statement: str) -> None:
    with pytest.raises(RestrictViolation):
        _attempt(owner_connection, statement)
    assert work.events() == [event]


@rewriting
def test_refuses_to_rewrite_events_for_a_superuser(event: work.Event, statement: str) -> None:
    with pytest.raises(RestrictViolation):
        _attempt(superuser_connection, statement)
    assert work.events() == [event]


@rewriting
def test_refuses_to_rewrite_events_under_the_role_of_a_replica(event: work.Event, statement: str) -> None:
    with pytest.raises(RestrictViolation):
        _attempt(superuser_connection, "SET session_replication_role = replica", statement)
    assert work.events() == [event]


@pytest.mark.parametrize(
    "statement",
    [
        "SET session_replication_role = replica",
        "ALTER TABLE audit_events DISABLE TRIGGER ALL",
        "ALTER TABLE audit_events DISABLE TRIGGER audit_events_append_only",
        "DROP TRIGGER audit_events_append_only ON audit_events",
        "ALTER TABLE audit_events DROP CONSTRAINT audit_events_hash",
        "CREATE OR REPLACE FUNCTION audit_events_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TABLE shadow ()",
        "DROP TABLE audit_events",
        "ALTER TABLE audit_events RENAME TO forgotten",
    ],
)
def test_the_service_cannot_lift_the_guards(event: work.Event, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        _attempt(service_connection, statement)
    with pytest.raises(InsufficientPrivilege):
        _attempt(service_connection, "DELETE FROM audit_events")
    assert work.events() == [event]


def test_the_service_gains_nothing_by_granting_itself_rights(event: work.Event) -> None:
    grant = "GRANT UPDATE, DELETE, TRUNCATE ON audit_events TO orchestrator_service"
    with pytest.raises(InsufficientPrivilege):
        _attempt(service_connection, grant, "DELETE FROM audit_events")
    assert work.events() == [event]


# What may be appended.


def _append(event: work.Event) -> None:
    with service_connection() as beside:
        work.insert(beside, "audit_events", event)


def _link(**columns: Any) -> work.Event:
    """The first event of some row's chain."""
    row = {
        "subject_type": "session",
        "subject_id": uuid4(),
        "seq": 1,
        "prev_hash": work.GENESIS,
        "to_status": "pending",
    }
    return work.written(**{**row, **columns})


def test_takes_an_event_that_is_true_to_its_hash() -> None:
    _append(_link())
    assert len(work.events()) == 1


def test_takes_an_event_outside_a_chain() -> None:
    _append(work.written())
    assert len(work.events("seq IS NULL")) == 1


@pytest.mark.parametrize("make", [_link, work.written], ids=["in a chain", "outside"])
@pytest.mark.parametrize(
    "change",
    [
        lambda _: {"hash": bytes(32)},
        lambda event: {"hash": event["hash"][:31]},
        lambda _: {"hash": b""},
        lambda event: {"hash": work.hash_of(bytes(31) + b"\1", event["body"])},
        lambda _: {"prev_hash": bytes(31) + b"\1"},
        lambda event: {"body": event["body"] + " "},
    ],
    ids=["zeros", "cut", "empty", "of another chain", "another before it", "another body"],
)
def test_refuses_a_wrong_hash(make: Callable[[], work.Event], change: Callable[[work.Event], dict[str, Any]]) -> None:
    event = make()
    with pytest.raises(CheckViolation) as refusal:
        _append({**event, **change(event)})
    assert refusal.value.diag.constraint_name == "audit_events_hash"


@pytest.mark.parametrize("length", [0, 31, 33])
def test_refuses_a_hash_before_it_of_another_length(length: int) -> None:
    event, before = _link(), b"\1" * length
    with pytest.raises(CheckViolation) as refusal:
        _append({**event, "prev_hash": before, "hash": work.hash_of(before, event["body"])})
    assert refusal.value.diag.constraint_name == "audit_events_hash"


@pytest.mark.parametrize("column", ["hash", "body"])
def test_refuses_an_event_without(column: str) -> None:
    with pytest.raises(NotNullViolation):
        _append({**_link(), column: None})


def test_refuses_a_body_that_is_no_json() -> None:
    body = "not JSON"
    with pytest.raises(InvalidTextRepresentation):
        _append({**_link(), "body": body, "hash": work.hash_of(work.GENESIS, body)})


def test_refuses_a_body_that_says_nothing() -> None:
    with pytest.raises(CheckViolation) as refusal:
        _append({**_link(), "body": "{}", "hash": work.hash_of(work.GENESIS, "{}")})
    assert refusal.value.diag.constraint_name == "audit_events_columns"


@pytest.mark.parametrize(
    ("column", "otherwise"),
    [
        ("id", ANOTHER),
        ("event_type", "session.deleted"),
        ("role", "manager"),
        ("timestamp", timedelta(seconds=1)),
        ("trace_id", "trace-2"),
        ("metadata", '{"changes": {"metadata": {}}}'),
        ("subject_type", "task"),
        ("subject_id", ANOTHER),
        ("seq", 2),
        ("from_status", "active"),
        ("from_status", None),
        ("to_status", "completed"),
        ("to_status", None),
        ("tenant", "another"),
        ("actor_issuer", "https://another.example"),
        ("actor_subject", "mallory"),
        ("actor_kind", "person"),
        ("on_behalf_of_issuer", "https://another.example"),
        ("on_behalf_of_subject", "mallory"),
        ("via", "admin"),
        ("reason", "another"),
        ("cause", ANOTHER),
        ("cause", None),
        ("request_id", "request-2"),
        ("ip", "192.0.2.8"),
        ("ip", None),
    ],
)
def test_refuses_a_column_that_the_body_contradicts(column: str, otherwise: Any) -> None:
    event = _link(from_status="pending")
    value = event[column] + otherwise if isinstance(otherwise, timedelta) else otherwise
    assert value != event[column]
    with pytest.raises(CheckViolation) as refusal:
        _append({**event, column: value})
    assert refusal.value.diag.constraint_name == "audit_events_columns"


def _retold(event: work.Event, body: str) -> work.Event:
    return {**event, "body": body, "hash": work.hash_of(event["prev_hash"] or work.GENESIS, body)}


@pytest.mark.parametrize("make", [_link, work.written], ids=["in a chain", "outside"])
@pytest.mark.parametrize(
    "retell",
    [
        lambda said: json.dumps(said, indent=2),
        lambda said: json.dumps(dict(reversed(said.items()))),
        lambda said: json.dumps({**said, "more": "than the columns"}),
        lambda said: json.dumps({**said, "epoch": 7}, sort_keys=True, separators=(",", ":")),
    ],
    ids=["spaces", "another order", "more", "more beside the changes"],
)
def test_takes_a_body_that_says_the_same_in_other_words(
    make: Callable[[], work.Event], retell: Callable[[Any], str]
) -> None:
    event = make()
    said = json.loads(event["body"])
    _append(_retold(event, retell(said)))
    with pytest.raises(CheckViolation) as refusal:
        _append(_retold(make(), retell({**said, "id": str(ANOTHER)})))
    assert refusal.value.diag.constraint_name == "audit_events_columns"
    assert len(work.events()) == 1


@pytest.mark.parametrize("told", ["2001:db8::1", "2001:DB8:0::1", "::ffff:192.0.2.7", "::ffff:c000:207", None])
def test_takes_an_address_however_it_is_written(told: str | None) -> None:
    _append(_link(ip=told))
    assert len(work.events()) == 1


@pytest.mark.parametrize(
    ("columns", "told", "otherwise"),
    [
        ({"subject_type": None, "subject_id": ANOTHER}, '"type":null', '"type":'),
        ({"subject_type": "session", "subject_id": None}, '"id":null', '"id":""'),
        ({"on_behalf_of_issuer": None}, '"on_behalf_of":{"issuer":null', '"on_behalf_of":{"issuer":'),
        ({"on_behalf_of_subject": None}, '"subject":null}', '"subject":""}'),
        ({"ip": "192.0.2.0/24"}, '"192.0.2.0/24"', '"192.0.2.0"'),
        ({"ip": "2001:db8::/32"}, '"2001:db8::/32"', '"2001:db8::"'),
    ],
    ids=str,
)
def test_takes_what_is_there_in_part_as_it_is_told_and_not_otherwise(
    columns: dict[str, Any], told: str, otherwise: str
) -> None:
    event = work.written(**columns)
    assert told in event["body"]
    _append(event)
    another = work.written(**columns)
    with pytest.raises((CheckViolation, InvalidTextRepresentation)):
        _append(_retold(another, another["body"].replace(told, otherwise)))
    assert len(work.events()) == 1


def test_refuses_a_time_that_is_none_told_as_nothing() -> None:
    event = _link()
    at = json.loads(event["body"])["at"]
    for told in ('""', '"Z"', '"infinity"'):
        with pytest.raises(CheckViolation) as refusal:
            _append({**_retold(event, event["body"].replace(f'"{at}"', told)), "timestamp": "infinity"})
        assert refusal.value.diag.constraint_name == "audit_events_columns"


@pytest.mark.parametrize("column", ["event_type", "actor_kind", "from_status", "to_status"])
@pytest.mark.parametrize(
    ("word", "error"),
    [('w","x":"y', CheckViolation), (r"w\u0041", CheckViolation), ("w\n", InvalidTextRepresentation)],
    ids=["quotes", "an escape", "a new line"],
)
def test_refuses_a_word_that_reads_otherwise_where_it_stands_in_the_body(
    column: str, word: str, error: type[Exception]
) -> None:
    event = _link(**{"from_status": "pending", column: "stands here"})
    body = event["body"].replace("stands here", word)
    with pytest.raises(error):
        _append(_retold({**event, column: word}, body))


def test_refuses_an_actor_told_once_more_beside_the_changes() -> None:
    event = _link()
    body = event["body"].replace('"changes":{}', '"changes":{},"actor":{"kind":"job"}')
    assert body != event["body"]
    with pytest.raises(CheckViolation):
        _append(_retold(event, body))


SHA256_THAT_IS_NONE = """
CREATE FUNCTION evil.sha256(bytea) RETURNS bytea IMMUTABLE LANGUAGE sql RETURN decode(repeat('00', 32), 'hex')
"""


@pytest.mark.parametrize(
    "setting", ["search_path = public", "search_path = evil, pg_catalog, public", "standard_conforming_strings = off"]
)
def test_judges_by_functions_of_postgresql_s_own_whatever_the_session_has_set(setting: str) -> None:
    with superuser_connection() as beside:
        beside.execute("CREATE SCHEMA evil")
        try:
            beside.execute(SHA256_THAT_IS_NONE)
            beside.execute("CREATE DOMAIN pg_temp.jsonb AS pg_catalog.text")
            beside.execute(f"SET {setting}")
            for false in ({"hash": bytes(32)}, {"metadata": '{"changes": "{}"}'}):
                with pytest.raises(CheckViolation):
                    work.insert(beside, "audit_events", {**_link(), **false})
            work.insert(beside, "audit_events", _link())
        finally:
            beside.execute("DROP SCHEMA evil CASCADE")
    assert len(work.events()) == 1


@pytest.mark.parametrize(
    "text", ["".join(map(chr, range(1, 0x180))), '","tenant":"another', "\u2028\u2029\ufeff\ufffe", "\U0001f600 \\"]
)
def test_takes_any_text_as_it_is(text: str) -> None:
    _append(_link(reason=text, actor_subject=text[:255], metadata=json.dumps({"changes": {text: [text]}})))
    assert len(work.events()) == 1


@pytest.mark.parametrize(
    "without", [{"subject_type": None}, {"subject_id": None}, {"prev_hash": None}, {"seq": 0}, {"seq": -1}], ids=str
)
def test_refuses_a_place_in_a_chain_without_a_subject_or_a_hash_before_it(without: dict[str, Any]) -> None:
    with pytest.raises(CheckViolation) as refusal:
        _append(_link(**without))
    assert refusal.value.diag.constraint_name == "audit_events_seq_needs_a_subject"


def test_refuses_a_second_event_in_one_place_of_a_chain() -> None:
    first = _link()
    _append(first)
    second = _link(subject_id=first["subject_id"], event_type="session.activated", to_status="active")
    with pytest.raises(UniqueViolation) as refusal:
        _append(second)
    assert refusal.value.diag.constraint_name == "audit_events_chain"
    _append(_link(subject_id=first["subject_id"], seq=2, prev_hash=first["hash"]))


def test_refuses_a_second_event_under_one_id() -> None:
    first = _link()
    _append(first)
    with pytest.raises(UniqueViolation):
        _append(_link(id=first["id"]))


@pytest.mark.parametrize(("column", "value"), [("xid", "1"), ("era", 7)])
def test_the_service_cannot_choose_what_seals_are_ordered_by(column: str, value: Any) -> None:
    with pytest.raises(InsufficientPrivilege):
        _append({**_link(), column: value})
    assert work.events() == []


def test_the_database_names_the_transaction_and_the_era() -> None:
    with service_connection() as beside, beside.transaction():
        work.insert(beside, "audit_events", _link())
        with beside.transaction():  # a savepoint has an id of its own, which is not asked for
            work.insert(beside, "audit_events", _link())
        current = beside.execute("SELECT pg_current_xact_id()::text").fetchone()
        written = beside.execute("SELECT DISTINCT xid::text, era FROM audit_events").fetchall()
    assert current is not None
    assert written == [(current[0], 1)]
