"""A long trail is read by several processes, range by range: as if it were read by one."""

import sys
from uuid import UUID

import pytest
from django.core.management import CommandError

from audit_app import findings as found_by_us
from audit_app import readers, verification
from audit_app.findings import Finding
from audit_app.snapshot import snapshot
from tests import work
from tests.api import Api
from tests.audit_app.seals import Place, findings, report_of, run, seal
from tests.audit_app.tampering import delete, point, rewrite, unguarded
from tests.audit_app.test_verify import cut_while_reading  # noqa: F401  a fixture

pytestmark = pytest.mark.django_db(transaction=True)

EVENTS = 12


@pytest.fixture
def in_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few events are a long trail."""
    monkeypatch.setattr(readers, "AT_A_TIME", 1)
    monkeypatch.setattr(verification, "_estimate", lambda _connection: EVENTS)


def test_finds_what_one_reader_finds(place: Place, agent: Api, request: pytest.FixtureRequest) -> None:
    sessions = [work.move_session(work.open_session(), "active", "completed") for _ in range(4)]
    task = work.new_task()
    told = agent.post("/audit/ingest", {"source": "a", "category": "b", "action": "c"}).json()
    seal()
    with unguarded() as beside:
        rewrite(beside, work.chain(sessions[0])[1], reason="another")
        delete(beside, work.chain(sessions[1])[1])
        rewrite(beside, work.chain(task)[0], body="{}")
        point(beside, sessions[3], status="failed")
        beside.execute("UPDATE audit_events SET metadata = '{}' WHERE id = %s", [told["event_id"]])
        by_one = report_of("--keys", str(place.keys), "--anchor", str(place.anchor))
        request.getfixturevalue("in_ranges")
        assert report_of("--keys", str(place.keys), "--anchor", str(place.anchor)) == by_one
    assert len(by_one["findings"]) == 6
    assert by_one["events"] == 4 * 3 - 1 + 2


def test_the_first_of_many_findings_are_told_whichever_reader_is_done_first(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Finding("hash", "session", UUID(int=number), seq) for number in range(9) for seq in (1, 2)]
    monkeypatch.setattr(found_by_us, "MOST", 3)
    assert found_by_us.first(reversed(found)) == found[:3]


def test_is_clean_and_counts_each_event_once(place: Place, agent: Api, in_ranges: None) -> None:
    for _ in range(4):
        work.move_session(work.open_session(), "active", "completed")
    agent.post("/audit/ingest", {"source": "a", "category": "b", "action": "c"})
    seal()
    assert findings(place) == []
    assert report_of()["events"] == 4 * 3 + 1


def test_ranges_are_of_whole_chains_and_name_each_event_once(agent: Api, in_ranges: None) -> None:
    for _ in range(4):
        work.move_session(work.open_session(), "active", "completed")
    agent.post("/audit/ingest", {"source": "a", "category": "b", "action": "c"})
    with snapshot() as (connection, _):
        parts = readers.ranges(connection, EVENTS)
        counted = [
            count
            for where, values in parts
            for (count,) in connection.execute(f"SELECT count(*) FROM audit_events WHERE {where}", values)
        ]
    assert sorted(counted) == [*[0] * (len(counted) - 5), 1, *[3] * 4]


@pytest.mark.usefixtures("in_ranges")
def test_a_connection_that_a_process_loses_is_not_taken_for_tampering(request: pytest.FixtureRequest) -> None:
    work.open_session()
    request.getfixturevalue("cut_while_reading")
    with pytest.raises(CommandError, match="The database cannot be reached") as refusal:
        run("audit_verify")
    assert refusal.value.returncode == 2


@pytest.mark.usefixtures("in_ranges")
def test_a_process_that_is_ended_is_not_taken_for_tampering(monkeypatch: pytest.MonkeyPatch) -> None:
    work.open_session()
    monkeypatch.setattr(readers, "_begin", sys.exit)
    with pytest.raises(CommandError) as refusal:
        run("audit_verify")
    assert refusal.value.returncode == 2
