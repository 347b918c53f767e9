"""Violations to plant in what tasks and approvals leave: each breaks one thing, and names the rules that find it."""

import time

from tests import work
from tests.concurrency import tasks
from tests.faults.history import Outcome
from tests.faults.world import Plant, World
from tests.sessions_app.session_calls import somebody


def lose_an_acknowledged_completion(world: World) -> None:
    """As if its COMMIT had never been, and yet it was answered."""
    world.unguarded()
    before = world.beside.execute(
        "DELETE FROM audit_events WHERE subject_id = %s AND seq = 3 RETURNING prev_hash", [world.done.id]
    ).fetchone()
    assert before is not None
    world.beside.execute(
        "UPDATE tasks SET version = 2, status = 'active', audit_head = %s, lease_token_hash = sha256('x'),"
        " lease_seconds = 60, lease_expires_at = now(), lease_issuer = 'local', lease_subject = 'finn' WHERE id = %s",
        [before[0], world.done.id],
    )
    world.beside.execute(
        "UPDATE task_attempts SET ended_at = NULL, outcome = NULL, ended_by = NULL WHERE task_id = %s", [world.done.id]
    )


def complete_it_twice(world: World) -> None:
    """The row, its version and its chain agree with each other; only that a completed task is completed again."""
    world.unguarded()
    first = world.beside.execute(
        "SELECT timestamp FROM audit_events WHERE subject_id = %s AND seq = 3", [world.done.id]
    ).fetchone()
    assert first is not None
    again = work.written_for(
        world.done,
        event_type="task.completed",
        timestamp=first[0],
        metadata='{"changes": {"output": {"key": "done"}}}',
        cause=None,
        reason="",
    )
    work.insert(world.beside, "audit_events", again)
    world.beside.execute("UPDATE tasks SET version = 4, audit_head = %s WHERE id = %s", [again["hash"], world.done.id])


def complete_what_nobody_completed(world: World) -> None:
    world.change(lambda call: call.key == "done", key="", body=b"")


def answer_otherwise_without_a_key(world: World) -> None:
    first = next(call for call in world.history.calls if call.key == "done" and call.is_final)
    world.change(lambda call: call is first, body=first.body.replace(b"completed", b"pending"))


def skip_a_version(world: World) -> None:
    world.forge("UPDATE tasks SET version = version + 1 WHERE id = %s", world.done.id)


def skip_a_version_of_an_approval(world: World) -> None:
    world.forge("UPDATE approvals SET version = version + 1 WHERE id = %s", world.approval.id)


def take_back_what_is_done(world: World) -> None:
    world.forge("UPDATE tasks SET status = 'pending' WHERE id = %s", world.done.id)


def move_as_only_a_session_may(world: World) -> None:
    """`expired` is no state of a task, and from `active` a session may come to it."""
    world.forge(
        "WITH told AS (UPDATE audit_events SET to_status = 'expired' WHERE subject_id = %s AND seq = 3"
        " RETURNING subject_id, to_status)"
        " UPDATE tasks SET status = told.to_status FROM told WHERE id = told.subject_id",
        world.done.id,
    )


def begin_in_the_middle(world: World) -> None:
    world.forge("UPDATE audit_events SET from_status = 'pending' WHERE subject_id = %s AND seq = 1", world.held.id)


def settle_without_an_event(world: World) -> None:
    world.forge("UPDATE approvals SET status = 'cancelled' WHERE id = %s", world.approval.id)


def lose_a_row_without_a_word(world: World) -> None:
    world.forge("DELETE FROM approvals WHERE id = %s", world.approval.id)


def rewrite_the_head(world: World) -> None:
    world.forge("UPDATE tasks SET audit_head = sha256('another') WHERE id = %s", world.done.id)


def grant_one_ownership_twice(world: World) -> None:
    world.say_granted(world.held, time.time())


def grant_what_is_not_known(world: World) -> None:
    world.say_granted(world.held, time.time(), epoch=2)


def leave_an_attempt_open(world: World) -> None:
    world.forge(
        "UPDATE task_attempts SET ended_at = NULL, outcome = NULL, ended_by = NULL WHERE task_id = %s", world.done.id
    )


def let_the_epoch_fall(world: World) -> None:
    world.forge("UPDATE tasks SET lease_epoch = 0 WHERE id = %s", world.done.id)


def show_a_foreign_task(world: World) -> None:
    theirs = tasks.routed(by=somebody("eve", tenant="acme"))
    world.say("", time.time(), Outcome.OK, 200, f'{{"tasks":[{{"task_id":"{theirs.id}"}}]}}'.encode())


TASK_PLANTS: list[tuple[Plant, list[str]]] = [
    (lose_an_acknowledged_completion, ["lost"]),
    (complete_it_twice, ["doubled", "path"]),
    (complete_what_nobody_completed, ["unasked"]),
    (answer_otherwise_without_a_key, ["answers differ"]),
    (skip_a_version, ["version"]),
    (skip_a_version_of_an_approval, ["version"]),
    (take_back_what_is_done, ["path"]),
    (move_as_only_a_session_may, ["path"]),
    (begin_in_the_middle, ["path"]),
    (settle_without_an_event, ["path"]),
    (lose_a_row_without_a_word, ["path"]),
    (rewrite_the_head, ["chain"]),
    (grant_one_ownership_twice, ["owned"]),
    (grant_what_is_not_known, ["owned"]),
    (leave_an_attempt_open, ["owned"]),
    (let_the_epoch_fall, ["owned"]),
    (show_a_foreign_task, ["foreign"]),
]
