"""change_many(): many rows change at once, each with its own event."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import DataError, IntegrityError, connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from audit_app.trail import Action
from orchestrator import boundary
from orchestrator.clock import database_now
from orchestrator.work_problems import IllegalTransition
from sessions_app.models import Session
from sessions_app.transitions.batch import change_many
from sessions_app.transitions.change import create
from tests import work
from tests.database import owner_connection, service_connection

pytestmark = pytest.mark.django_db(transaction=True)

Block = Callable[[Session], object]


def _some(count: int) -> list[Session]:
    """Pending sessions, made in one transaction."""

    def make() -> list[Session]:
        at = database_now()
        rows = [Session(role="finance", metadata={"n": n}, expires_at=at + timedelta(days=1)) for n in range(count)]
        return [create(row, Action.SESSION_CREATED, at=at, actor=work.actor()) for row in rows]

    return boundary.write(make)


@pytest.fixture
def three() -> list[Session]:
    """Three pending sessions at version 1."""
    return _some(3)


def _all() -> QuerySet[Session]:
    return Session.objects.order_by("id")


def _change(
    rows: QuerySet[Session], block: Block, action: Action = Action.SESSION_CHANGED, **options: Any
) -> list[Session]:
    """Do the same to all rows of a query, in a boundary of its own."""
    known = {"actor": work.actor(), **options}

    def move() -> Sequence[Session]:
        with change_many(rows, action, **known) as batch:
            for row in batch:
                block(row)
        return batch

    return list(boundary.write(move))


def _expire(rows: QuerySet[Session], **options: Any) -> list[Session]:
    return _change(rows, Session.expire, Action.SESSION_EXPIRED, **options)


def _as_they_are() -> list[dict[str, Any]]:
    return [dict(row) for row in Session.objects.order_by("id").values()]


@pytest.fixture
def trail_refuses_the_second(three: list[Session]) -> Iterator[None]:
    """A trail that refuses to expire the second of three, by a constraint of the owner's."""
    refusing = f"CHECK (event_type <> 'session.expired' OR subject_id <> '{three[1].pk}')"
    with owner_connection() as owner:
        owner.execute(f"ALTER TABLE audit_events ADD CONSTRAINT refusing {refusing}")
        yield
        owner.execute("ALTER TABLE audit_events DROP CONSTRAINT refusing")


def test_changes_nothing_outside_a_boundary(three: list[Session]) -> None:
    before = _as_they_are()
    with pytest.raises(RuntimeError), change_many(_all(), Action.SESSION_EXPIRED, actor=work.actor()) as batch:
        batch[0].expire()
    assert _as_they_are() == before


def test_moves_every_row_with_an_event_of_its_own(three: list[Session]) -> None:
    moved = _expire(_all(), reason="the time ran out")
    assert [row.pk for row in moved] == [row.pk for row in three]
    for row in three:
        *_, event = work.chain(row)
        assert (event["event_type"], event["seq"], event["reason"]) == ("session.expired", 2, "the time ran out")
        assert (event["from_status"], event["to_status"]) == ("pending", "expired")
        assert event["timestamp"] == Session.objects.get(pk=row.pk).updated_at
        work.assert_chain_holds(row)


def test_hundreds_of_rows_have_chains_that_hold() -> None:
    rows = _some(300)
    _change(_all(), Session.activate, Action.SESSION_ACTIVATED)
    _expire(_all())
    events = work.events("seq = 3")
    assert len(events) == 300
    assert len({event["hash"] for event in events}) == 300
    for row in rows:
        work.assert_chain_holds(row)


@pytest.mark.parametrize("count", [1, 3, 50])
def test_is_one_locking_read_one_update_and_one_copy(count: int) -> None:
    _some(count)
    with CaptureQueriesContext(connection) as queries:
        _expire(_all())
    statements = [query["sql"] for query in queries]
    assert [sql.split()[0] for sql in statements] == ["BEGIN", "SELECT", "UPDATE", "COPY", "COMMIT"]
    assert "FOR NO KEY UPDATE" in statements[1]
    assert statements[1].endswith("SKIP LOCKED")


def test_nothing_to_do_is_one_read(three: list[Session]) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert _expire(_all().filter(status="active")) == []
    assert [query["sql"].split()[0] for query in queries] == ["BEGIN", "SELECT", "COMMIT"]


def test_takes_as_many_as_the_query_says(three: list[Session]) -> None:
    assert [row.pk for row in _expire(_all()[:2])] == [row.pk for row in three[:2]]
    assert [row["status"] for row in _as_they_are()] == ["expired", "expired", "pending"]


def test_skips_what_another_holds(three: list[Session]) -> None:
    with service_connection() as beside, beside.transaction():
        beside.execute("SELECT 1 FROM sessions WHERE id = %s FOR NO KEY UPDATE", [three[1].pk])
        assert [row.pk for row in _expire(_all())] == [three[0].pk, three[2].pk]
    assert [row["status"] for row in _as_they_are()] == ["expired", "pending", "expired"]
    assert len(work.chain(three[1])) == 1
    assert [row.pk for row in _expire(_all().filter(status="pending"))] == [three[1].pk]


def test_takes_others_instead_of_what_another_holds(three: list[Session]) -> None:
    with service_connection() as beside, beside.transaction():
        beside.execute("SELECT 1 FROM sessions WHERE id = %s FOR NO KEY UPDATE", [three[0].pk])
        assert [row.pk for row in _expire(_all()[:2])] == [three[1].pk, three[2].pk]


def test_two_at_once_share_the_work(three: list[Session]) -> None:
    def first() -> None:
        with change_many(_all()[:2], Action.SESSION_EXPIRED, actor=work.actor()) as batch:
            with service_connection() as beside:
                others = beside.execute("SELECT id FROM sessions ORDER BY id FOR NO KEY UPDATE SKIP LOCKED").fetchall()
            assert others == [(three[2].pk,)]
            for row in batch:
                row.expire()

    boundary.write(first)


def test_a_row_left_alone_gets_no_event(three: list[Session]) -> None:
    def expire_the_second(row: Session) -> None:
        if row.pk == three[1].pk:
            row.expire()

    before = _as_they_are()
    _change(_all(), expire_the_second, Action.SESSION_EXPIRED)
    after = _as_they_are()
    assert (after[0], after[2]) == (before[0], before[2])
    assert [len(work.chain(row)) for row in three] == [1, 2, 1]
    work.assert_chain_holds(three[1])


def test_when_no_row_moves_nothing_is_written(three: list[Session]) -> None:
    before = _as_they_are()
    with CaptureQueriesContext(connection) as queries:
        _change(_all(), lambda row: setattr(row, "reason", "not told alone"))
    assert [query["sql"].split()[0] for query in queries] == ["BEGIN", "SELECT", "COMMIT"]
    assert _as_they_are() == before


def test_rows_may_change_in_different_columns(three: list[Session]) -> None:
    task = work.new_task()

    def differently(row: Session) -> None:
        if row.pk == three[0].pk:
            row.metadata = {"text": "tab\t, line\n, \\N, \\., 'quotes' \"of\" {both}, ü, 😀"}
        elif row.pk == three[1].pk:
            row.task_id = task.pk
        else:
            row.activate()
            row.reason = "because"
            row.expires_at += timedelta(days=1)

    before = _as_they_are()
    _change(_all(), differently, reason="tab\t, line\n, \\N, \\., 'quotes' \"of\" {both}, ü, 😀")
    first, second, third = _as_they_are()
    assert first["metadata"] == {"text": "tab\t, line\n, \\N, \\., 'quotes' \"of\" {both}, ü, 😀"}
    assert (first["task_id"], first["status"], first["reason"]) == (None, "pending", None)
    assert (second["task_id"], second["metadata"]) == (task.pk, {"n": 1})
    assert (third["status"], third["reason"], third["task_id"]) == ("active", "because", None)
    assert third["expires_at"] == before[2]["expires_at"] + timedelta(days=1)
    for row in three:
        assert work.chain(row)[-1]["reason"] == "tab\t, line\n, \\N, \\., 'quotes' \"of\" {both}, ü, 😀"
        work.assert_chain_holds(row)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"n": None},
        {"n": 2**53},
        {"n": 1e22},
        {"n": "x" * 60_000},
        {"ü": ["😀", {"deep": [[], {}]}]},
        {"\\": "'\"{}"},
    ],
    ids=["empty", "null", "2^53", "1e22", "long", "deep", "quotes"],
)
def test_keeps_documents_as_they_are(three: list[Session], metadata: dict[str, Any]) -> None:
    _change(_all(), lambda row: setattr(row, "metadata", metadata))
    assert [row["metadata"] for row in _as_they_are()] == [metadata] * 3
    for row in three:
        work.assert_chain_holds(row)


def test_a_value_may_be_taken_away() -> None:
    rows = [work.open_session(task=work.new_task()), work.open_session(task=work.new_task())]
    _change(_all(), lambda row: setattr(row, "task_id", None))
    assert [row["task_id"] for row in _as_they_are()] == [None, None]
    for row in rows:
        work.assert_chain_holds(row)


def test_nothing_is_kept_when_one_move_is_illegal(three: list[Session]) -> None:
    work.move_session(three[1], "active", "completed")
    before, trail = _as_they_are(), work.events()
    with pytest.raises(IllegalTransition) as refusal:
        _expire(_all())
    assert refusal.value.members == {"from": "completed", "to": "expired", "allowed": []}
    assert (_as_they_are(), work.events()) == (before, trail)


def test_nothing_is_kept_when_one_event_cannot_be_written(three: list[Session], trail_refuses_the_second: None) -> None:
    before = _as_they_are()
    with pytest.raises(IntegrityError, match="refusing"):
        _expire(_all())
    assert _as_they_are() == before
    assert len(work.events()) == 3
    assert len(_expire(_all().exclude(pk=three[1].pk))) == 2


def test_nothing_is_kept_when_the_block_fails(three: list[Session]) -> None:
    def fail(row: Session) -> None:
        row.expire()
        if row.pk == three[1].pk:
            raise ValueError("on the way")

    before = _as_they_are()
    with pytest.raises(ValueError, match="on the way"):
        _change(_all(), fail, Action.SESSION_EXPIRED)
    assert _as_they_are() == before
    assert len(work.events()) == 3


def test_refuses_what_a_column_has_no_room_for(three: list[Session]) -> None:
    def overfill(row: Session) -> None:
        row.expire()
        row.created_by_subject = "x" * 256

    before = _as_they_are()
    with pytest.raises(DataError):
        _change(_all(), overfill, Action.SESSION_EXPIRED)
    assert _as_they_are() == before


def test_judges_the_condition_again_under_the_lock(three: list[Session]) -> None:
    # The sweep reads, and stands still at its own condition; meanwhile one of the rows moves on and is let go.
    pending = _all().filter(status="pending").extra(where=["pg_advisory_xact_lock(1)::text IS NOT NULL"])
    with service_connection() as beside, beside.transaction():
        beside.execute("SELECT pg_advisory_xact_lock(1)")
        sweep = work.in_a_thread(lambda: _expire(pending))
        work.wait_for_a_waiter()
        work.move_session(three[1], "active")
    assert [row.pk for row in sweep.result(5)] == [three[0].pk, three[2].pk]
    assert [row["status"] for row in _as_they_are()] == ["expired", "active", "expired"]


def test_is_repeated_when_another_transaction_won_as_the_events_were_written(three: list[Session]) -> None:
    # Like a deadlock that is found late: the first attempt ends inside the COPY, the second goes through.
    with owner_connection() as owner:
        owner.execute("CREATE SEQUENCE attempts")
        owner.execute("GRANT USAGE ON SEQUENCE attempts TO orchestrator_service")
        owner.execute("""
            CREATE FUNCTION lose_once() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
              IF nextval('attempts') = 1 THEN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END IF;
              RETURN NEW;
            END $$""")
        owner.execute("CREATE TRIGGER lose BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION lose_once()")
        try:
            _expire(_all())
        finally:
            owner.execute("DROP FUNCTION lose_once() CASCADE")
            owner.execute("DROP SEQUENCE attempts")
    for row in three:
        work.assert_chain_holds(row)
    assert len(work.events()) == 6
