"""manage.py audit_verify: what is in order, whatever is written; and what it is asked for."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError
from django.db import connection

from audit_app import seal_check, seal_keys
from audit_app.findings import MOST
from audit_app.models import AuditEvent, AuditSeal
from audit_app.trail import instant
from orchestrator import boundary
from orchestrator.actors import Origin, Via
from sessions_app.transitions import session as transitions
from tests import work
from tests.api import Api
from tests.audit_app.seals import Place, findings, report_of, run, seal
from tests.audit_app.tampering import Super, delete, forge, point, rewrite, said, seal_hash, set_clock, unguarded
from tests.database import service_connection, superuser_connection
from tests.orchestrator.test_health import database_away
from tests.sessions_app import task_states

pytestmark = pytest.mark.django_db(transaction=True)

ODD = [
    'a "quote", a \\backslash\\ and \\n that is none',
    "two\nlines\r\n\tand a tab",
    "\b\f\x01\x1f\x7f\u2028\u2029",
    "für Zürich — 日本 — 🦉",
    "</script>&'<>/",
    '","request_id":"',
    "\\u0041",
    "x" * 4000,
]


@pytest.mark.parametrize("text", ODD, ids=lambda text: ascii(text)[:20])
def test_is_clean_whatever_people_write(place: Place, text: str) -> None:
    session = work.move_session(work.open_session(metadata={"note": text}), "active", reason=text)
    work.move_session(session, "completed", by=work.actor(text[:255] or "x"))
    seal()
    assert findings(place) == []


@pytest.mark.parametrize(
    "metadata",
    [
        {"n": 1.0, "m": -0.0, "k": 1e21, "e": 5e-324, "i": 2**53},
        {"b": True, "one": 1, "null": None, "list": [1, [2, {"a": []}], {}]},
        {"z": 1, "aa": 2, "é": 3, "😀": 4, "\ufb33": 5, "\u20ac": 6, "\r": 7, "1": 8},
        {"a": ", b", "c": ': "d"', "e": "f, g: h", ": ": ", "},
        {"long": "x" * 5000},
    ],
    ids=["numbers", "values", "names", "separators", "a digest"],
)
def test_is_clean_whatever_is_in_a_document(place: Place, metadata: dict[str, Any]) -> None:
    session = work.open_session(metadata=metadata)
    work.amend_session(session, metadata={**metadata, "more": 1})
    seal()
    assert findings(place) == []


@pytest.mark.parametrize(
    "ip",
    [
        "192.0.2.7",
        "2001:db8::1",
        "::1",
        "::",
        "::ffff:c000:207",
        "::ffff:192.0.2.7",
        "::c000:207",
        "2001:db8:0:1::",
        None,
    ],
)
def test_is_clean_wherever_people_come_from(place: Place, ip: str | None) -> None:
    """An address within IPv6 as Python writes it, the one before 3.13 or the one since."""
    session = work.open_session(by=work.actor(origin=Origin(Via.API, "request-1", "trace-1", ip)))
    work.amend_session(session, metadata={"ip": ip})
    seal()
    assert findings(place) == []


def test_is_clean_with_tasks_approvals_refusals_and_what_others_told(place: Place, agent: Api) -> None:
    for make in task_states.TASKS_IN.values():
        make()
    task = task_states.pending()
    work.new_approval(task)
    assert agent.post(f"/tasks/{task.pk}/complete", {"lease_token": "x" * 43}).status_code == 409
    assert agent.post("/audit/ingest", {"source": "a", "category": "b", "action": "c"}).status_code == 202
    seal()
    assert findings(place) == []


@pytest.mark.parametrize(
    "half",
    [
        {"subject_type": "session"},
        {"subject_id": uuid4()},
        {"on_behalf_of_issuer": None},
        {"on_behalf_of_subject": None},
    ],
    ids=["a kind", "an id", "a subject without an issuer", "an issuer without a subject"],
)
def test_an_event_outside_every_chain_may_say_half_of_a_pair(place: Place, half: dict[str, Any]) -> None:
    with service_connection() as beside:
        work.insert(beside, "audit_events", work.written(**half))
    seal()
    assert findings(place) == []


def test_rows_that_were_deleted_by_the_contract_are_in_order(place: Place) -> None:
    session = work.move_session(work.open_session(), "active", "completed")
    boundary.write(lambda: transitions.delete(session, reason="It is old.", actor=work.actor()))
    seal()
    assert findings(place) == []
    told = run("audit_verify", "--subject", f"session:{session.pk}")
    assert told == "Clean: 4 events. The seals were not looked at: without --subject they are."


def test_counts_what_waits_for_a_seal(place: Place) -> None:
    work.open_session()
    seal()
    work.open_session()
    assert run("audit_verify", "--keys", str(place.keys)) == "Clean: 2 events, 1 seals, 1 events wait for a seal."


def test_an_empty_trail_is_clean(place: Place) -> None:
    assert run("audit_verify") == "Clean: 0 events, 0 seals, 0 events wait for a seal."


# One subject; what came since.


def test_looks_at_one_subject_alone(place: Place) -> None:
    one, other = work.move_session(work.open_session(), "active"), work.open_session()
    with unguarded() as beside:
        rewrite(beside, work.chain(one)[1], reason="another")
        assert findings(place, "--subject", f"session:{one.pk}", anchor=False) == [("columns", str(one.pk), 2)]
        report = report_of("--subject", f"session:{other.pk}")
        assert (report["result"], report["events"]) == ("clean", 1)
        point(beside, other, status="failed")
        assert findings(place, "--subject", f"session:{other.pk}", anchor=False) == [("status", str(other.pk), 1)]


@pytest.mark.parametrize("text", ["session", "session:", "session:1", "person:018f0000-0000-7000-8000-000000000000"])
def test_refuses_a_subject_that_has_no_chain(text: str) -> None:
    with pytest.raises(CommandError, match="must be one of session, task, approval, a colon, and an id"):
        run("audit_verify", "--subject", text)


def test_a_subject_that_never_was_is_not_clean() -> None:
    pk = uuid4()
    work.open_session()
    with pytest.raises(
        CommandError, match=rf"not to be had: task {pk}: there is no such subject\. \(0 events\.\)"
    ) as no:
        run("audit_verify", "--subject", f"task:{pk}")
    assert no.value.returncode == 2


def test_looks_at_what_came_since(place: Place) -> None:
    old = work.move_session(work.open_session(), "active")
    old = work.amend_session(old, metadata={"a": 1})
    seal()
    since = datetime.now(UTC).isoformat()
    new = work.move_session(old, "completed")
    seal()
    report = report_of("--keys", str(place.keys), "--since", since)
    assert (report["result"], report["events"], report["seals"]) == ("clean", 2, 2)
    chain = work.chain(new)
    with unguarded() as beside:
        rewrite(beside, chain[1], reason="another")
        assert findings(place, "--since", since) == []
        assert findings(place) == [("columns", str(old.pk), 2)]
        rewrite(beside, chain[3], reason="another")
        assert findings(place, "--since", since) == [("columns", str(old.pk), 4)]
        one = findings(place, "--since", since, "--subject", f"session:{old.pk}", anchor=False)
        assert one == [("columns", str(old.pk), 4)]


@pytest.mark.parametrize(("missing", "is_found"), [([3], True), ([1, 2, 3], True), ([2], False)])
def test_looks_since_a_moment_for_what_is_missing_just_before(missing: list[int], *, is_found: bool) -> None:
    session = work.amend_session(work.move_session(work.open_session(), "active"), metadata={"a": 1})
    session = work.move_session(session, "completed")
    chain = work.chain(session)
    since = instant(chain[3]["timestamp"])
    with unguarded() as beside:
        delete(beside, *[chain[seq - 1] for seq in missing])
        found = report_of("--since", since, "--subject", f"session:{session.pk}")["findings"]
    gap = [("gap", str(session.pk), 4)] if is_found else []
    assert [(one["kind"], one["subject_id"], one["seq"]) for one in found if one["kind"] != "told"] == gap


def test_looks_since_a_moment_whether_its_first_event_follows_the_one_before() -> None:
    session = work.move_session(work.open_session(), "active", "completed")
    chain = work.chain(session)
    body = said(chain[1], reason="another")
    with unguarded() as beside:
        rewrite(beside, chain[1], body=body, reason="another", hash=work.hash_of(bytes(chain[1]["prev_hash"]), body))
        found = report_of("--since", instant(chain[2]["timestamp"]))["findings"]
    assert [(one["kind"], one["seq"]) for one in found] == [("link", 3)]


def test_since_a_moment_is_from_its_first_event_on_whatever_the_clock_said_afterwards(place: Place) -> None:
    """The clock was set back by less than a minute: later events have earlier times, in an old chain and a new one."""
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    times = {1: noon, 2: noon + timedelta(seconds=40), 3: noon - timedelta(seconds=10), 4: noon + timedelta(seconds=50)}
    with unguarded() as beside:
        going_on = work.move_session(work.amend_session(work.open_session(), metadata={"a": 1}), "active", "completed")
        set_clock(beside, going_on, times)
        new = work.move_session(work.open_session(), "active")
        set_clock(beside, new, {1: noon - timedelta(seconds=10), 2: noon - timedelta(seconds=5)})
        seal()
        since = ["--since", instant(noon + timedelta(seconds=30))]
        report = report_of("--keys", str(place.keys), *since)
        assert (report["result"], report["events"]) == ("clean", 6)
        rewrite(beside, work.chain(new)[1], reason="another")
        assert findings(place, *since, anchor=False) == [("columns", str(new.pk), 2)]
        rewrite(beside, work.chain(going_on)[2], reason="another")
        assert findings(place, *since, anchor=False)[0] == ("columns", str(going_on.pk), 3)


def test_since_a_moment_the_seals_are_checked_from_the_first_of_its_time_on(place: Place) -> None:
    """Whatever time a later one says it was made at."""
    for _ in range(3):
        work.open_session()
        seal()
    since = instant(AuditSeal.objects.get(pk=2).sealed_at)
    with unguarded() as beside:
        set_back_seal(beside, place, 3)
        assert findings(place, "--since", since, anchor=False) == []
        beside.execute("DELETE FROM audit_events WHERE id = %s", [AuditSeal.objects.get(pk=3).last_id])
        assert ("seal-events", "seal", 3) in findings(place, "--since", since, anchor=False)


def set_back_seal(beside: Super, place: Place, number: int) -> None:
    """The same seal, signed by its key with a time of half a minute ago, as if the clock had been set back."""
    one = AuditSeal.objects.get(pk=number)
    earlier = one.sealed_at - timedelta(seconds=30)
    body = one.body.replace(instant(one.sealed_at), instant(earlier))
    signature = seal_keys.signing_key().sign(b"seal/v1\0" + body.encode())
    forge(beside, one, sealed_at=earlier, body=body, hash=seal_hash(body), signature=signature)


def test_since_refuses_what_is_no_moment() -> None:
    with pytest.raises(CommandError, match="must be a date and time with an offset"):
        run("audit_verify", "--since", "yesterday")


# For machines.


def test_tells_machines_all_that_it_found(place: Place) -> None:
    session = work.move_session(work.open_session(), "active")
    with unguarded() as beside:
        event = work.chain(session)[1]
        rewrite(beside, event, reason="another")
        report = report_of("--anchor", str(place.anchor))
    assert report == {
        "result": "tampered",
        "events": 2,
        "seals": 0,
        "waiting": 2,
        "findings": [
            {
                "kind": "columns",
                "says": "a column is not what the text says",
                "subject_type": "session",
                "subject_id": str(session.pk),
                "seq": 2,
                "event_id": str(event["id"]),
                "seal": None,
                "key": None,
            }
        ],
        # There is no seal that it could have.
        "missing": [],
    }


def test_an_event_outside_every_chain_is_named_by_its_id(place: Place, agent: Api) -> None:
    told = agent.post("/audit/ingest", {"source": "a", "category": "b", "action": "c"}).json()
    with unguarded() as beside:
        beside.execute("UPDATE audit_events SET metadata = '{}'")
        assert findings(place, anchor=False) == [("columns", told["event_id"], None)]


def test_tells_the_first_of_very_many() -> None:
    for _ in range(3):
        work.open_session()
    with unguarded() as beside:
        beside.execute(
            "INSERT INTO audit_events (id, event_type, role, timestamp, trace_id, metadata, body, hash, tenant,"
            " actor_issuer, actor_subject, actor_kind, via, reason, request_id)"
            " SELECT gen_random_uuid(), 'x', '', now(), '', '{}', '', '', '', '', '', '', '', '', ''"
            " FROM generate_series(1, 500)"
        )
        report = report_of()
    assert (len(report["findings"]), report["events"]) == (MOST, 503)


def test_seals_are_read_a_few_at_a_time_and_all_of_them(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal_check, "_AT_A_TIME", 2)
    for _ in range(5):
        work.open_session()
        seal()
    assert report_of("--keys", str(place.keys), "--anchor", str(place.anchor))["seals"] == 5
    assert findings(place) == []
    with unguarded() as beside:
        for number in (3, 5):
            forge(beside, AuditSeal.objects.get(pk=number), root=bytes(32))
        beside.execute("DELETE FROM audit_seals WHERE number = 2")
        wrong = [("anchor", "seal", 2), ("seal-text", "seal", 3), ("seal-text", "seal", 5)]
        assert findings(place) == wrong


@pytest.mark.parametrize("number", [0, -1, 2**31, 10**400])
def test_an_anchor_of_whatever_number_is_found_missing(place: Place, number: int) -> None:
    work.open_session()
    seal()
    with place.anchor.open("a") as file:
        file.write(json.dumps({"number": number, "hash": "00" * 32}) + "\n")
    assert findings(place) == [("anchor", "seal", number)]


# Whatever else happens.


def test_without_the_database_the_answer_is_not_that_it_is_tampered_with() -> None:
    with database_away(), pytest.raises(CommandError, match="The database cannot be reached") as refusal:
        run("audit_verify")
    assert refusal.value.returncode == 2


@pytest.fixture
def cut_while_reading() -> Iterator[None]:
    """Connections that read events are ended, one after the other, while the block runs."""
    with superuser_connection() as beside:
        beside.execute(
            "CREATE FUNCTION end_me() RETURNS boolean LANGUAGE sql AS 'SELECT pg_terminate_backend(pg_backend_pid())'"
        )
        # The service cannot end itself: whoever reads a row of this view's table does, as its owner.
        beside.execute("ALTER FUNCTION end_me() SECURITY DEFINER")
        beside.execute("ALTER TABLE audit_events ENABLE ROW LEVEL SECURITY")
        beside.execute("CREATE POLICY cut ON audit_events USING (end_me())")
    yield
    connection.close()
    with superuser_connection() as beside:
        beside.execute("DROP POLICY cut ON audit_events")
        beside.execute("ALTER TABLE audit_events DISABLE ROW LEVEL SECURITY")
        beside.execute("DROP FUNCTION end_me()")


def test_a_connection_that_is_lost_meanwhile_is_not_taken_for_tampering(request: pytest.FixtureRequest) -> None:
    work.open_session()
    request.getfixturevalue("cut_while_reading")
    with pytest.raises(CommandError, match="The database cannot be reached") as refusal:
        run("audit_verify")
    assert refusal.value.returncode == 2


def test_sees_one_moment_while_others_write(place: Place) -> None:
    session = work.open_session()
    others = work.in_a_thread(lambda: [work.open_session() for _ in range(60)])
    while not others.done():
        assert report_of()["findings"] == []
    others.result()
    assert json.dumps(report_of()["findings"]) == "[]"
    assert AuditEvent.objects.count() == 61
    assert session.created_at < datetime.now(UTC) + timedelta(minutes=1)
