"""create(), lock(), change(), changed(): how any one row changes."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, DataError, IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from audit_app.trail import Action
from orchestrator import boundary
from orchestrator.actors import Identity
from orchestrator.clock import database_now
from orchestrator.problems import NotFound, PreconditionFailed
from orchestrator.work_problems import IllegalTransition
from sessions_app.models import Session, Task
from sessions_app.transitions.change import change, changed, create, lock, remove
from tests import work
from tests.database import owner_connection, service_connection
from tests.statements import first_words

pytestmark = pytest.mark.django_db(transaction=True)

Block = Callable[[Session], object]


def _new(**columns: Any) -> Session:
    at = database_now()
    return Session(**{"role": "finance", "metadata": {}, "expires_at": at + timedelta(days=1), **columns})


def _create(session: Session, **options: Any) -> Session:
    """Create a session in a boundary of its own."""
    known = {"actor": work.actor(), **options}
    return boundary.write(lambda: create(session, Action.SESSION_CREATED, at=database_now(), **known))


def _change(session: Session, block: Block, action: Action = Action.SESSION_CHANGED, **options: Any) -> Session:
    """Change a session in a boundary of its own."""
    known = {"actor": work.actor(), **options}

    def move() -> Session:
        with change(session, action, **known) as fresh:
            block(fresh)
        return fresh

    return boundary.write(move)


def _activate(session: Session, **options: Any) -> Session:
    return _change(session, Session.activate, Action.SESSION_ACTIVATED, **options)


def _set(**columns: Any) -> Block:
    def block(session: Session) -> None:
        for name, value in columns.items():
            setattr(session, name, value)

    return block


def _row(session: Session) -> dict[str, Any]:
    """The stored row, every column of it."""
    return dict(Session.objects.filter(pk=session.pk).values().get())


@pytest.fixture
def session() -> Session:
    """A pending session at version 1."""
    return work.open_session(metadata={"quarter": "Q4"})


@pytest.fixture
def trail_refuses() -> Iterator[None]:
    """A trail that refuses every event whose reason is `refuse`, by a constraint of the owner's."""
    with owner_connection() as owner:
        owner.execute("ALTER TABLE audit_events ADD CONSTRAINT refusing CHECK (reason <> 'refuse')")
        yield
        owner.execute("ALTER TABLE audit_events DROP CONSTRAINT refusing")


# Outside a boundary.


def test_creates_nothing_outside_a_boundary() -> None:
    with pytest.raises(RuntimeError):
        create(_new(), Action.SESSION_CREATED, at=database_now(), actor=work.actor())
    assert not Session.objects.exists()


def test_locks_nothing_outside_a_boundary(session: Session) -> None:
    with pytest.raises(RuntimeError):
        lock(session)


@pytest.mark.parametrize("way", [change, changed], ids=["change", "changed"])
def test_changes_nothing_outside_a_boundary(session: Session, way: Callable[..., Any]) -> None:
    before = _row(session)
    with (
        pytest.raises(RuntimeError),
        way(session, Action.SESSION_ACTIVATED, actor=work.actor()) as fresh,
    ):
        fresh.activate()
    assert _row(session) == before
    assert len(work.chain(session)) == 1


# Creating.


def test_a_new_row_is_its_actor_s() -> None:
    by = work.actor("agent-7", tenant="acme", on_behalf_of=Identity("https://people.example", "petra"))
    made = _create(_new(), actor=by)
    stored = Session.objects.get(pk=made.pk)
    assert stored.tenant == "acme"
    assert stored.created_by == by.identity
    assert (stored.on_behalf_of_issuer, stored.on_behalf_of_subject) == ("https://people.example", "petra")
    assert stored.created_at == stored.updated_at == work.chain(made)[0]["timestamp"]
    work.assert_chain_holds(made)


def test_a_new_row_has_version_1_and_its_reason_in_the_trail() -> None:
    made = _create(_new(), reason="the quarter began")
    (event,) = work.chain(made)
    assert (made.version, event["seq"], event["reason"]) == (1, 1, "the quarter began")
    assert (event["from_status"], event["to_status"]) == (None, "pending")


def test_no_row_is_kept_when_the_trail_cannot_be_written(trail_refuses: None) -> None:
    with pytest.raises(IntegrityError, match="refusing"):
        _create(_new(), reason="refuse")
    assert not Session.objects.exists()
    assert work.events() == []
    _create(_new(), reason="take")
    assert Session.objects.count() == 1


def test_no_event_is_kept_when_the_row_cannot_be_written() -> None:
    with pytest.raises(DataError):
        _create(_new(role="x" * 51))
    assert work.events() == []


def test_an_existing_row_is_not_created_again(session: Session) -> None:
    before = _row(session)
    with pytest.raises(IntegrityError):
        _create(_new(id=session.id, role="manager"))
    assert _row(session) == before
    assert len(work.events()) == 1


# Locking.


def test_a_locked_row_is_read_again(session: Session) -> None:
    _change(session, _set(metadata={"quarter": "Q1"}))
    assert session.metadata == {"quarter": "Q4"}
    fresh = boundary.write(lambda: lock(session))
    assert (fresh.metadata, fresh.version) == ({"quarter": "Q1"}, 2)


def test_a_locked_row_cannot_be_locked_by_another(session: Session) -> None:
    def attempt() -> None:
        lock(session)
        with service_connection() as beside, pytest.raises(psycopg.errors.LockNotAvailable):
            beside.execute("SELECT 1 FROM sessions WHERE id = %s FOR NO KEY UPDATE NOWAIT", [session.pk])

    boundary.write(attempt)


def test_a_locked_row_can_be_referred_to() -> None:
    task = work.new_task()

    def attempt() -> None:
        lock(task)
        with service_connection() as beside:
            beside.execute("SELECT 1 FROM tasks WHERE id = %s FOR KEY SHARE NOWAIT", [task.pk])

    boundary.write(attempt)


def test_locking_alone_changes_nothing(session: Session) -> None:
    before = _row(session)
    boundary.write(lambda: lock(session))
    assert _row(session) == before


@pytest.mark.parametrize("make", [_new, Task], ids=["session", "task"])
def test_a_row_that_is_gone_is_not_found(make: Callable[[], Session | Task]) -> None:
    gone = make()
    with pytest.raises(NotFound):
        boundary.write(lambda: lock(gone))


def test_a_change_of_a_row_that_is_gone_is_not_found() -> None:
    with pytest.raises(NotFound):
        _activate(_new())
    assert work.events() == []


@pytest.mark.parametrize("if_match", [None, frozenset({1}), frozenset({1, 7})])
def test_takes_a_row_that_is_as_expected(session: Session, if_match: frozenset[int] | None) -> None:
    assert boundary.write(lambda: lock(session, if_match=if_match)).version == 1


@pytest.mark.parametrize("if_match", [frozenset({2}), frozenset({0, 7}), frozenset[int]()])
def test_refuses_a_row_that_has_moved_on(session: Session, if_match: frozenset[int]) -> None:
    with pytest.raises(PreconditionFailed) as refusal:
        boundary.write(lambda: lock(session, if_match=if_match))
    assert refusal.value.members == {"current_version": 1}


def test_judges_the_version_under_the_lock(session: Session) -> None:
    _activate(session)
    assert session.version == 1
    with pytest.raises(PreconditionFailed) as refusal:
        boundary.write(lambda: lock(session, if_match=frozenset({1})))
    assert refusal.value.members == {"current_version": 2}


@pytest.mark.parametrize("moved", [True, False], ids=["who moved it", "who left it as it was"])
def test_the_time_is_read_once_the_lock_is_held(session: Session, moved: bool) -> None:
    # The other one goes first. What is judged by the clock must not be judged by the time before the waiting.
    with service_connection() as beside, beside.transaction(force_rollback=not moved):
        beside.execute("SELECT 1 FROM sessions WHERE id = %s FOR NO KEY UPDATE", [session.pk])
        if moved:
            event = work.written_for(session, to_status="active")
            work.insert(beside, "audit_events", event)
            beside.execute(
                "UPDATE sessions SET status = 'active', version = 2, audit_head = %s WHERE id = %s",
                [event["hash"], session.pk],
            )
        second = work.in_a_thread(lambda: boundary.write(lambda: lock(session)))
        work.wait_for_a_waiter()
        released = database_now()
    assert second.result(5).now > released


# Changing.


def test_a_move_is_saved_with_its_event(session: Session) -> None:
    moved = _activate(session, reason="the books are open")
    stored = _row(session)
    event = work.chain(session)[-1]
    assert (stored["status"], stored["version"], bytes(stored["audit_head"])) == ("active", 2, bytes(event["hash"]))
    assert (event["event_type"], event["seq"], event["reason"]) == ("session.activated", 2, "the books are open")
    assert stored["updated_at"] == event["timestamp"] == moved.now
    assert stored["updated_at"] > stored["created_at"]
    work.assert_chain_holds(session)


def test_the_row_that_is_moved_is_the_one_stored_and_not_the_one_given(session: Session) -> None:
    _change(session, _set(metadata={"quarter": "Q1"}))
    moved = _activate(session)
    assert (moved.version, moved.metadata) == (3, {"quarter": "Q1"})
    assert (session.version, session.status) == (1, "pending")
    work.assert_chain_holds(session)


def test_a_move_and_new_contents_are_one_change(session: Session) -> None:
    def both(fresh: Session) -> None:
        fresh.metadata = {"quarter": "Q1"}
        fresh.activate()

    _change(session, both, Action.SESSION_ACTIVATED)
    assert len(work.chain(session)) == 2
    assert _row(session)["metadata"] == {"quarter": "Q1"}


def test_two_changes_in_one_boundary_are_two_events(session: Session) -> None:
    def twice() -> None:
        with change(session, Action.SESSION_ACTIVATED, actor=work.actor()) as fresh:
            fresh.activate()
        with change(session, Action.SESSION_COMPLETED, actor=work.actor()) as fresh:
            fresh.complete()

    boundary.write(twice)
    assert [event["event_type"] for event in work.chain(session)][1:] == ["session.activated", "session.completed"]
    work.assert_chain_holds(session)


def test_what_is_changed_in_place_is_saved(session: Session) -> None:
    _change(session, lambda fresh: fresh.metadata.update(quarter="Q1"))
    assert _row(session)["metadata"] == {"quarter": "Q1"}
    assert len(work.chain(session)) == 2


@pytest.mark.parametrize(
    "block",
    [
        lambda _: None,
        _set(metadata={"quarter": "Q4"}),
        lambda fresh: _set(task_id=None, expires_at=fresh.expires_at)(fresh),
        _set(reason="not told alone"),
        lambda fresh: _set(updated_at=fresh.now)(fresh),
    ],
    ids=["nothing", "the same metadata", "the same columns", "what is not told", "the time"],
)
def test_what_changes_nothing_leaves_no_event(session: Session, block: Block) -> None:
    before = _row(session)
    _change(session, block)
    assert _row(session) == before
    assert len(work.chain(session)) == 1


def test_what_changes_nothing_is_one_read(session: Session) -> None:
    with CaptureQueriesContext(connection) as queries:
        _change(session, _set(metadata={"quarter": "Q4"}))
    assert first_words(queries) == ["BEGIN", "SELECT", "COMMIT"]


def test_a_change_is_a_read_an_update_and_an_insert(session: Session) -> None:
    with CaptureQueriesContext(connection) as queries:
        _activate(session)
    assert first_words(queries) == ["BEGIN", "SELECT", "UPDATE", "INSERT", "COMMIT"]


def test_what_is_not_told_is_saved_along_with_a_move(session: Session) -> None:
    def both(fresh: Session) -> None:
        fresh.activate()
        fresh.reason = "the books are open"

    _change(session, both, Action.SESSION_ACTIVATED)
    assert _row(session)["reason"] == "the books are open"


def test_nothing_is_kept_when_the_trail_cannot_be_written(session: Session, trail_refuses: None) -> None:
    before = _row(session)
    with pytest.raises(IntegrityError, match="refusing"):
        _activate(session, reason="refuse")
    assert _row(session) == before
    assert len(work.chain(session)) == 1
    _activate(session, reason="take")
    work.assert_chain_holds(session)


def test_nothing_is_kept_when_an_event_has_no_room_for_its_actor(session: Session) -> None:
    before = _row(session)
    with pytest.raises(DataError):
        _activate(session, actor=work.actor("x" * 256))
    assert _row(session) == before
    assert len(work.chain(session)) == 1


def test_nothing_is_kept_when_the_row_cannot_be_written(session: Session) -> None:
    before = _row(session)
    with pytest.raises(DatabaseError):
        _change(session, _set(role="x" * 51, metadata={}))
    assert _row(session) == before
    assert len(work.chain(session)) == 1


def test_nothing_is_kept_when_the_block_fails(session: Session) -> None:
    def fail(fresh: Session) -> None:
        fresh.activate()
        raise ValueError("on the way")

    before = _row(session)
    with pytest.raises(ValueError, match="on the way"):
        _change(session, fail, Action.SESSION_ACTIVATED)
    assert _row(session) == before
    assert len(work.chain(session)) == 1


def test_an_event_belongs_to_the_tenant_of_its_row(session: Session) -> None:
    _activate(session, actor=work.actor("olga", tenant="another"))
    assert [event["tenant"] for event in work.chain(session)] == ["default", "default"]


# Removing.


def _remove(session: Session, **options: Any) -> None:
    known = {"actor": work.actor(), **options}
    boundary.write(lambda: remove(lock(session), Action.SESSION_DELETED, **known))


def test_a_removed_row_leaves_its_trail(session: Session) -> None:
    with CaptureQueriesContext(connection) as queries:
        _remove(session, reason="the quarter is over")
    assert first_words(queries) == ["BEGIN", "SELECT", "DELETE", "INSERT", "COMMIT"]
    assert not Session.objects.exists()
    first, last = work.chain(session)
    assert (last["event_type"], last["from_status"], last["to_status"]) == ("session.deleted", "pending", None)
    assert (last["seq"], last["reason"]) == (2, "the quarter is over")
    assert bytes(last["prev_hash"]) == bytes(first["hash"])
    assert bytes(last["hash"]) == work.hash_of(bytes(first["hash"]), last["body"])


def test_no_row_is_gone_when_the_trail_cannot_be_written(session: Session, trail_refuses: None) -> None:
    before = _row(session)
    with pytest.raises(IntegrityError, match="refusing"):
        _remove(session, reason="refuse")
    assert _row(session) == before
    assert len(work.chain(session)) == 1


def test_removes_nothing_outside_a_boundary(session: Session) -> None:
    locked = boundary.write(lambda: lock(session))
    with pytest.raises(RuntimeError):
        remove(locked, Action.SESSION_DELETED, actor=work.actor())
    assert _row(session)


def test_a_removed_row_is_not_found(session: Session) -> None:
    _remove(session)
    with pytest.raises(NotFound):
        _activate(session)
    assert len(work.chain(session)) == 2


# What django-fsm refuses.


@pytest.mark.parametrize(
    ("path", "move", "members"),
    [
        ((), Session.complete, {"from": "pending", "to": "completed", "allowed": ["active", "expired"]}),
        ((), Session.fail, {"from": "pending", "to": "failed", "allowed": ["active", "expired"]}),
        (
            ("active",),
            Session.activate,
            {"from": "active", "to": "active", "allowed": ["completed", "failed", "expired"]},
        ),
        (("active", "completed"), Session.fail, {"from": "completed", "to": "failed", "allowed": []}),
        (("active", "completed"), Session.complete, {"from": "completed", "to": "completed", "allowed": []}),
        (("expired",), Session.expire, {"from": "expired", "to": "expired", "allowed": []}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else getattr(value, "__name__", ""),
)
def test_an_illegal_move_says_from_where_to_where_and_what_is_legal(
    session: Session, path: tuple[str, ...], move: Block, members: dict[str, Any]
) -> None:
    work.move_session(session, *path)
    before, trail = _row(session), work.chain(session)
    with pytest.raises(IllegalTransition) as refusal:
        _change(session, move)
    assert refusal.value.members == members
    assert (_row(session), work.chain(session)) == (before, trail)


def test_a_legal_change_goes_with_an_illegal_move(session: Session) -> None:
    def both(fresh: Session) -> None:
        fresh.metadata = {}
        fresh.complete()

    before = _row(session)
    with pytest.raises(IllegalTransition):
        _change(session, both)
    assert _row(session) == before


def test_past_its_time_only_expiry_is_legal() -> None:
    overdue = work.open_session(lasting=timedelta(seconds=-1))
    with pytest.raises(IllegalTransition) as refusal:
        _change(overdue, Session.complete)
    assert refusal.value.members == {"from": "pending", "to": "completed", "allowed": ["expired"]}


# changed(), for a caller that looked at the locked row first.


def test_a_row_that_is_locked_already_changes_without_a_second_read(session: Session) -> None:
    def move() -> None:
        with changed(lock(session), Action.SESSION_ACTIVATED, actor=work.actor()) as fresh:
            fresh.activate()

    with CaptureQueriesContext(connection) as queries:
        boundary.write(move)
    assert first_words(queries) == ["BEGIN", "SELECT", "UPDATE", "INSERT", "COMMIT"]
    work.assert_chain_holds(session)
