"""order=oldest and exports: in the order of transactions, up to the oldest one that is still running."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import signing
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit_app import feed
from audit_app.models import AuditEvent
from tests import work
from tests.api import Api, errors, token
from tests.audit_app.many_events import EACH, lives
from tests.audit_app.seals import wait_until_sealable
from tests.audit_app.tampering import unguarded
from tests.database import owner_connection, service_connection, superuser_connection

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def auditor() -> Api:
    return Api(token("ada", "auditor", ""))


def page(caller: Api, query: str) -> dict[str, Any]:
    answer = caller.get(f"/audit/events?{query}")
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def ids(caller: Api, query: str) -> list[str]:
    return [event["event_id"] for event in page(caller, query)["events"]]


def exported(caller: Api, query: str = "") -> list[str]:
    answer = caller.get(f"/audit/export?{query}")
    return [json.loads(line)["event_id"] for line in b"".join(answer.streaming_content).splitlines()]


def id_of(session: Any, seq: int = 1) -> str:
    return str(work.chain(session)[seq - 1]["id"])


@contextmanager
def written_and_not_committed() -> Iterator[str]:
    """Write an event in another transaction, which commits when the block ends."""
    event = work.written()
    with service_connection() as beside:
        beside.execute("BEGIN")
        work.insert(beside, "audit_events", event)
        yield str(event["id"])
        beside.execute("COMMIT")


def test_ends_below_a_transaction_that_is_still_running(auditor: Api) -> None:
    before = id_of(work.open_session())
    wait_until_sealable()
    with written_and_not_committed() as late:
        after = id_of(work.open_session())
        assert ids(auditor, "order=oldest") == exported(auditor) == [before]
        # The newest are shown at once, and so is one event and the history of a row.
        assert ids(auditor, "") == [after, before]
        assert auditor.get(f"/audit/events/{after}").status_code == 200
    wait_until_sealable()
    assert ids(auditor, "order=oldest") == exported(auditor) == [before, late, after]


def test_a_cursor_misses_nothing_that_commits_late(auditor: Api) -> None:
    before = [id_of(work.open_session()) for _ in range(2)]
    wait_until_sealable()
    with written_and_not_committed() as late:
        after = id_of(work.open_session())
        first = page(auditor, "order=oldest&page_size=1")
        again = page(auditor, f"order=oldest&page_size=1&cursor={first['next_cursor']}")
        assert [event["event_id"] for one in (first, again) for event in one["events"]] == before
        # There is nothing more to show, and so no place to go on from but the last.
        assert again["next_cursor"] is None
    wait_until_sealable()
    assert ids(auditor, f"order=oldest&page_size=9&cursor={first['next_cursor']}") == [before[1], late, after]


def test_the_history_of_a_row_is_whole_and_by_time_whatever_runs_beside(auditor: Api) -> None:
    with written_and_not_committed():
        session = work.move_session(work.open_session(), "active", "completed")
        for query in (f"subject_id={session.pk}", f"subject_type=session&subject_id={session.pk}"):
            history = [id_of(session, seq) for seq in (1, 2, 3)]
            assert ids(auditor, f"order=oldest&{query}") == exported(auditor, query) == history


def test_a_cursor_of_the_list_by_time_is_none_of_the_feed(auditor: Api) -> None:
    """The version before walked by time."""
    event = AuditEvent.objects.get(pk=id_of(work.open_session()))
    microseconds = (event.timestamp - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    scope = json.dumps(["events", "default", [("order", "oldest")]])
    cursor = signing.dumps([microseconds, event.id.hex], salt=f"cursor:{scope}")
    answer = auditor.get(f"/audit/events?order=oldest&cursor={cursor}")
    assert (answer.status_code, list(errors(answer))) == (400, ["cursor"])


def test_events_of_earlier_eras_are_final_and_come_first(auditor: Api) -> None:
    old, new = id_of(work.open_session()), id_of(work.open_session())
    with unguarded() as beside:
        # As after a restore: the cluster has not come to those transactions yet.
        beside.execute("UPDATE audit_events SET era = 0, xid = '9000000000' WHERE id = %s", [old])
        wait_until_sealable()
        assert ids(auditor, "order=oldest") == [old, new]


# Filters by time.


@contextmanager
def over_hours(sessions: int) -> Iterator[list[AuditEvent]]:
    """Events five seconds apart until now, forty to a transaction, in the order of their transactions."""
    lives(sessions)
    count = sessions * EACH
    with unguarded() as beside:
        beside.execute(
            "UPDATE audit_events e SET xid = (1 + n / 40)::text::xid8,"
            " timestamp = now() - (%(count)s - n) * interval '5 s'"
            " FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM audit_events) one WHERE one.id = e.id",
            {"count": count},
        )
        beside.execute("ANALYZE audit_events")
        yield list(AuditEvent.objects.order_by("era", "xid", "id"))


def moment(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def read(sql: str) -> float:
    """How many rows of the trail a statement looks at."""
    with superuser_connection() as beside:
        row = beside.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}").fetchone()
    assert row is not None
    return sum(_rows(node) for node in _nodes(row[0][0]["Plan"]) if node.get("Relation Name") == "audit_events")


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _rows(node: dict[str, Any]) -> float:
    return float((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])


def test_a_filter_by_time_finds_the_same_and_does_not_read_the_rest(auditor: Api) -> None:
    with over_hours(1_000) as events:
        for first, last in ((0, 40), (2_000, 2_030), (len(events) - 30, len(events) - 1)):
            after, before = events[first].timestamp, events[last].timestamp
            query = f"order=oldest&after={moment(after)}&before={moment(before)}"
            wanted = [str(event.id) for event in events if after <= event.timestamp < before]
            with CaptureQueriesContext(connection) as asked:
                assert ids(auditor, f"{query}&cursor=&page_size=100") == wanted
            # 12 minutes more at either end, at one event in five seconds, and the page itself.
            assert read(asked[0]["sql"]) < 600, query
            assert exported(auditor, query.removeprefix("order=oldest&")) == wanted


def test_a_filter_by_time_finds_events_whose_times_contradict_their_order(auditor: Api) -> None:
    """A transaction that began first may write last: up to ten minutes later, and a minute by its clock."""
    with over_hours(300) as events:
        early, late = events[500], events[620]
        assert late.timestamp - early.timestamp == timedelta(minutes=10)
        with superuser_connection() as beside:
            for one, at in ((early, late.timestamp), (late, early.timestamp)):
                beside.execute("UPDATE audit_events SET timestamp = %s WHERE id = %s", [at, one.id])
        wanted = [str(early.id), *(str(event.id) for event in events[621:640])]
        query = f"after={moment(late.timestamp)}&before={moment(events[640].timestamp)}"
        assert set(ids(auditor, f"order=oldest&page_size=100&{query}")) == set(wanted)
        assert str(late.id) in ids(auditor, f"order=oldest&page_size=100&before={moment(events[501].timestamp)}&page=6")


@pytest.mark.parametrize("query", ["after=0001-01-01T00:00:00Z", "before=9999-12-31T23:59:59Z"])
def test_a_filter_may_name_any_moment(auditor: Api, query: str) -> None:
    event = id_of(work.open_session())
    wait_until_sealable()
    assert ids(auditor, f"order=oldest&{query}") == [event]


def test_the_bound_that_the_times_rest_on_is_the_database_s() -> None:
    with owner_connection() as owner:
        found = "SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger WHERE tgname = %s"
        row = owner.execute(found, ["audit_events_of_young_transactions"]).fetchone()
    assert row is not None
    definition, enabled = row
    assert enabled in ("A", b"A")
    assert "transaction_timestamp() < (clock_timestamp() - '00:10:00'::interval)" in definition


def test_an_event_of_a_transaction_that_is_too_old_is_refused() -> None:
    with superuser_connection() as beside, beside.transaction(force_rollback=True):
        # The same trigger with a bound that a test can wait for.
        definition = "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'audit_events_of_young_transactions'"
        row = beside.execute(definition).fetchone()
        assert row is not None
        beside.execute("DROP TRIGGER audit_events_of_young_transactions ON audit_events")
        beside.execute(row[0].replace("00:10:00", "00:00:00.05"))
        beside.execute("SELECT pg_sleep(0.06)")
        with pytest.raises(Exception, match="its transaction is older than ten minutes"):
            work.insert(beside, "audit_events", work.written())


# How far it is behind.


def lag() -> float:
    (family,) = feed.measured()
    (sample,) = family.samples
    return float(sample.value)


def test_tells_how_far_it_is_behind() -> None:
    wait_until_sealable()
    assert lag() == 0
    with written_and_not_committed():
        work.open_session()
        first = lag()
        assert 0 < first < lag()
    wait_until_sealable()
    assert lag() == 0
