"""manage.py audit_seal: all that nothing can precede any more, once, in order."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege, RestrictViolation, UniqueViolation

from audit_app import merkle, sealing
from audit_app.models import AuditEvent, AuditSeal
from orchestrator import boundary
from sessions_app.transitions import session as transitions
from tests import work
from tests.api import Api
from tests.audit_app.many_events import EACH, lives
from tests.audit_app.seals import Place, findings, report_of, run, seal, wait_until_sealable
from tests.database import owner_connection, service_connection, superuser_connection, worker_connection

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def unfinished() -> Iterator[psycopg.Connection[Any]]:
    """Somebody's transaction that has written and not ended."""
    with superuser_connection() as beside:
        beside.execute("BEGIN")
        beside.execute("SELECT pg_current_xact_id()")
        yield beside
        beside.execute("ROLLBACK")


def test_a_seal_is_over_the_events_in_their_order() -> None:
    session = work.move_session(work.open_session(), "active", "completed")
    work.open_session()
    (made,) = seal()
    events = list(AuditEvent.objects.order_by("era", "xid", "id"))
    assert (made.number, made.size) == (1, len(events)) == (1, 4)
    assert (made.last_era, made.last_xid, made.last_id) == (1, events[-1].xid, events[-1].id)
    assert bytes(made.root) == merkle.root(bytes(event.hash) for event in events)
    assert bytes(made.prev_hash) == bytes(32)
    assert json.loads(made.body)["first"] == str(work.chain(session)[0]["id"])


def test_a_seal_follows_the_one_before() -> None:
    made = []
    for _ in range(3):
        work.open_session()
        made += seal()
    assert [one.number for one in made] == [1, 2, 3]
    assert [bytes(one.prev_hash) for one in made[1:]] == [bytes(one.hash) for one in made[:-1]]
    assert [one.size for one in made] == [1, 1, 1]


def test_where_there_is_nothing_to_seal_none_is_made() -> None:
    assert run("audit_seal") == "0 seals made."
    work.open_session()
    seal()
    assert run("audit_seal") == "0 seals made."


def test_tells_the_log_of_each_seal(caplog: pytest.LogCaptureFixture) -> None:
    work.open_session()
    with caplog.at_level(logging.INFO, logger="audit_app.sealing"):
        (made,) = seal()
    (record,) = [one for one in caplog.records if one.message == "sealed"]
    assert (record.seal, record.events, record.hash) == (1, 1, bytes(made.hash).hex())  # type: ignore[attr-defined]


def test_an_unfinished_transaction_holds_the_horizon_back_and_nothing_appears_below_a_seal() -> None:
    work.open_session()
    assert len(seal()) == 1
    with unfinished():
        later = work.open_session()
        assert run("audit_seal") == "0 seals made."
        assert AuditSeal.objects.count() == 1
    (made,) = seal()
    assert made.last_id == work.chain(later)[-1]["id"]


def test_an_event_that_commits_late_comes_after_the_seal_that_did_not_wait_for_it(place: Place) -> None:
    before = work.open_session()
    assert len(seal()) == 1
    session = work.open_session()
    with service_connection() as beside:
        beside.execute("BEGIN")
        work.insert(beside, "audit_events", work.written())
        work.move_session(session, "active")
        run("audit_seal")
        # Of those that committed only what no unfinished transaction can precede.
        sealed_so_far = sum(one.size for one in AuditSeal.objects.all())
        assert sealed_so_far == 2
        beside.execute("COMMIT")
    seal()
    assert sum(one.size for one in AuditSeal.objects.all()) == 4
    assert findings(place) == []
    work.assert_chain_holds(before)


def test_one_seals_at_a_time() -> None:
    work.open_session()
    with service_connection() as other:
        other.execute("BEGIN")
        other.execute("SELECT pg_advisory_xact_lock(%s)", [sealing._ONE_AT_A_TIME])
        assert run("audit_seal") == "0 seals made."
        other.execute("COMMIT")
    assert len(seal()) == 1


def test_many_events_make_several_seals(place: Place) -> None:
    lives(6_000)
    made = seal()
    assert [one.size for one in made] == [10_000, 10_000, 6_000 * EACH - 20_000]
    assert findings(place) == []


def test_what_rolled_back_is_not_sealed() -> None:
    session = work.open_session()

    def fail() -> None:
        transitions.amend(session, actor=work.actor(), status="active")
        raise LookupError

    with pytest.raises(LookupError):
        boundary.write(fail)
    (made,) = seal()
    assert made.size == 1


def test_what_was_refused_and_what_others_told_is_sealed_along(agent: Api, place: Place) -> None:
    session = agent.post("/sessions", {"agent_role": "finance"}).json()
    assert agent.send("DELETE", f"/sessions/{session['session_id']}?reason=It+is+old.").status_code == 403
    assert agent.post("/audit/ingest", {"source": "a", "category": "b", "action": "c"}).status_code == 202
    (made,) = seal()
    assert made.size == 3
    assert AuditEvent.objects.filter(seq=None).count() == 2
    assert findings(place) == []


def test_a_place_written_by_hand_is_no_way_round(place: Place) -> None:
    """Whatever era and transaction somebody writes beside an event, it is under a seal or waits for one."""
    for era in (-(2**31), 0, 1):
        with superuser_connection() as beside:
            work.insert(beside, "audit_events", {**work.written(), "era": era, "xid": "3"})
    (made,) = seal()
    assert made.size == 3
    assert findings(place) == []


def test_the_order_is_that_of_numbers(place: Place) -> None:
    """Transaction 1000 comes after 999, where texts would be the other way round."""
    with superuser_connection() as beside:
        for xid in ("99", "9", "100", "10", "8"):
            work.insert(beside, "audit_events", {**work.written(), "xid": xid})
    (made,) = seal()
    assert (made.size, made.last_xid) == (5, 100)
    assert findings(place) == []


# The guards of the database.

REWRITES = [
    "UPDATE audit_seals SET size = 7",
    "UPDATE audit_seals SET size = 7 WHERE false",
    "DELETE FROM audit_seals",
    "TRUNCATE audit_seals",
    "INSERT INTO audit_seals SELECT * FROM audit_seals ON CONFLICT (number) DO UPDATE SET size = 7",
]


@pytest.mark.parametrize("statement", REWRITES)
def test_nobody_rewrites_seals(statement: str) -> None:
    work.open_session()
    (made,) = seal()
    for connect in (service_connection, worker_connection):
        with connect() as beside, pytest.raises(InsufficientPrivilege):
            beside.execute(statement)
    for connect in (owner_connection, superuser_connection):
        with connect() as beside, pytest.raises(RestrictViolation):
            beside.execute(statement)
    with superuser_connection() as beside:
        beside.execute("SET session_replication_role = replica")
        with pytest.raises(RestrictViolation):
            beside.execute(statement)
    assert list(AuditSeal.objects.values()) == [
        {field.attname: getattr(made, field.attname) for field in AuditSeal._meta.concrete_fields}
    ]


@pytest.mark.parametrize(
    ("column", "value", "refusal"),
    [
        ("number", 1, UniqueViolation),
        ("number", 0, CheckViolation),
        ("number", 4, CheckViolation),
        ("size", 2, CheckViolation),
        ("last_id", UUID(int=7), CheckViolation),
        ("last_era", 2, CheckViolation),
        ("last_xid", str(2**62), CheckViolation),
        ("prev_hash", bytes(32), CheckViolation),
        ("size", 0, CheckViolation),
        ("hash", bytes(32), CheckViolation),
        ("body", "{}", CheckViolation),
        ("root", bytes(31), CheckViolation),
        ("prev_hash", bytes(33), CheckViolation),
        ("signature", bytes(63), CheckViolation),
        ("endorsement", bytes(63), CheckViolation),
    ],
)
def test_refuses_a_seal_that_is_malformed_or_does_not_follow(column: str, value: Any, refusal: type[Exception]) -> None:
    work.open_session()
    (made,) = seal()
    event = work.chain(work.open_session())[0]
    names = [field.attname for field in AuditSeal._meta.concrete_fields]
    follows = {"number": 2, "last_xid": str(event["xid"]), "last_id": event["id"], "prev_hash": made.hash}
    columns = {**{name: getattr(made, name) for name in names}, **follows}
    with worker_connection() as beside:
        with pytest.raises(refusal):
            work.insert(beside, "audit_seals", {**columns, column: value})
        assert AuditSeal.objects.count() == 1
        work.insert(beside, "audit_seals", columns)
        assert AuditSeal.objects.count() == 2


def test_the_lag_is_never_none_while_the_last_seal_lies_beyond_all_events(place: Place) -> None:
    """Whatever is written from then on would never be sealed."""
    for _ in range(2):
        work.open_session()
        seal()
    with superuser_connection() as beside:
        beside.execute("ALTER TABLE audit_events DISABLE TRIGGER audit_events_append_only")
        try:
            beside.execute("DELETE FROM audit_events WHERE id = %s", [AuditSeal.objects.get(number=2).last_id])
        finally:
            beside.execute("ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_events_append_only")
    assert sealing.lag_seconds() > 0
    work.open_session()
    assert sealing.lag_seconds() > 0


def test_the_lag_is_never_none_while_an_event_of_tomorrow_waits() -> None:
    with superuser_connection() as beside:
        work.insert(beside, "audit_events", work.written(timestamp=datetime.now(UTC) + timedelta(seconds=50)))
    assert sealing.lag_seconds() > 0


# How far it lags.


def told_at_scrape(name: str) -> float:
    (family,) = (family for family in sealing.measured() if family.name == name)
    (sample,) = family.samples
    return float(sample.value)


def test_tells_how_long_the_oldest_event_has_waited(place: Place) -> None:
    assert sealing.lag_seconds() == 0
    work.open_session()
    with superuser_connection() as beside:
        old = work.written()
        work.insert(beside, "audit_events", {**old, "xid": "3"})
        waiting = "SELECT extract(epoch FROM clock_timestamp() - timestamp)::float FROM audit_events WHERE id = %s"
        known = float(beside.execute(waiting, [old["id"]]).fetchone()[0])  # type: ignore[index]
    assert known <= sealing.lag_seconds() < known + 5
    told = Api(None).get("/health").json()["audit"]
    assert known < told["seal_lag_seconds"] + 0.1
    assert told_at_scrape("orchestrator_audit_seal_lag_seconds") >= known
    assert told_at_scrape("orchestrator_audit_unsealed_events") == 2
    assert report_of("--keys", str(place.keys))["waiting"] == 2
    seal()
    assert sealing.lag_seconds() == told_at_scrape("orchestrator_audit_seal_lag_seconds") == 0
    assert Api(None).get("/health").json()["audit"] == {"status": "healthy", "seal_lag_seconds": 0.0, "problems": []}


def test_the_sweep_seals_what_has_waited_for_long_enough(place: Place) -> None:
    with superuser_connection() as beside:
        work.insert(beside, "audit_events", work.written(timestamp=datetime.now(UTC) - timedelta(seconds=20)))
    assert run("sweep").splitlines()[-1] == "0 seals made."
    with superuser_connection() as beside:
        work.insert(beside, "audit_events", work.written(timestamp=datetime.now(UTC) - timedelta(seconds=40)))
    # It is the oldest by its place that counts, and that is the first.
    assert run("sweep").splitlines()[-1] == "0 seals made."
    wait_until_sealable()
    assert run("audit_seal") == "1 seal made."
    with superuser_connection() as beside:
        work.insert(beside, "audit_events", work.written(timestamp=datetime.now(UTC) - timedelta(seconds=40)))
    wait_until_sealable()
    assert run("sweep").splitlines()[-1] == "1 seal made."


def test_the_sweep_seals_last_and_goes_on_where_it_cannot(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "EVERY_SECONDS", 0)
    work.open_session()
    wait_until_sealable()
    assert run("sweep").splitlines()[-1] == "1 seal made."
    seal()
    assert AuditSeal.objects.count() == 1
