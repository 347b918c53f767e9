"""The checker finds what it is for: each planted violation by its own rule, and nothing where all is well."""

import time
from collections.abc import Iterator

import pytest

from tests import work
from tests.database import superuser_connection
from tests.faults.checker import RULES, check
from tests.faults.history import Call, Outcome
from tests.faults.stored import SERVICE
from tests.faults.task_plants import TASK_PLANTS
from tests.faults.world import Plant, World, found
from tests.sessions_app.session_calls import somebody

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world() -> Iterator[World]:
    with superuser_connection() as beside:
        yield World(beside)
        beside.execute("ROLLBACK")


def test_finds_nothing_where_all_is_well(world: World) -> None:
    assert check(world.history, world.beside, patience=0) == []


# The plants. Each breaks one thing.


def lose_an_acknowledged_effect(world: World) -> None:
    world.forge(
        "WITH gone AS (DELETE FROM audit_events WHERE subject_id = %s RETURNING subject_id)"
        " DELETE FROM sessions WHERE id IN (SELECT subject_id FROM gone)",
        world.b.id,
    )


def double_an_effect(world: World) -> None:
    work.open_session(by=somebody(), metadata={"key": "open-b"})
    world.change(lambda call: call.key == "open-b", ended=time.time())


def do_what_was_refused(world: World) -> None:
    began = time.time()
    session = work.open_session(by=somebody(), metadata={"key": "refused-later"})
    world.say("refused-later", began, Outcome.REFUSED, 409, f'{{"in":"{session.id}"}}'.encode())


def do_what_nobody_asked_for(world: World) -> None:
    work.open_session(by=somebody(), metadata={"key": "nobody's"})


def answer_otherwise_the_second_time(world: World) -> None:
    world.change(lambda call: call.key == "open-b" and call.replayed, body=f'{{"session_id": "{world.b.id}"}}'.encode())


def answer_twice_as_the_first(world: World) -> None:
    world.change(lambda call: call.key == "open-b" and call.replayed, replayed=False)


def answer_with_the_row_of_another(world: World) -> None:
    world.change(
        lambda call: call.key == "open-b" and call.outcome is Outcome.OK,
        body=f'{{"session_id":"{world.a.id}"}}'.encode(),
    )


def skip_a_version(world: World) -> None:
    world.forge("UPDATE sessions SET version = version + 1 WHERE id = %s", world.b.id)


def leave_a_final_state(world: World) -> None:
    world.forge("UPDATE audit_events SET from_status = 'failed' WHERE subject_id = %s AND seq = 3", world.a.id)


def stand_where_no_event_led(world: World) -> None:
    world.forge("UPDATE sessions SET status = 'active' WHERE id = %s", world.b.id)


def rewrite_an_event(world: World) -> None:
    world.forge("UPDATE audit_events SET body = replace(body, 'finance', 'legal') WHERE subject_id = %s", world.b.id)


def rewrite_the_head(world: World) -> None:
    world.forge("UPDATE sessions SET audit_head = sha256('another') WHERE id = %s", world.b.id)


def know_before_it_happens(world: World) -> None:
    world.change(lambda call: call.key == "open-b", started=time.time() - 20, ended=time.time() - 10)


def ask_after_it_happened(world: World) -> None:
    world.change(lambda call: call.key == "open-b", started=time.time() + 10, ended=time.time() + 20)


def turn_two_moves_round(world: World) -> None:
    """The second is known before the first is asked for, all within what clocks may differ by."""
    known = call_of(world, "move-a-1").started
    world.change(lambda call: call.key == "move-a-2", started=known - 0.001, ended=known)
    world.change(lambda call: call.key == "move-a-1", started=known + 0.001)


def call_of(world: World, key: str) -> Call:
    return next(call for call in world.history.calls if call.key == key)


def answer_with_a_fault(world: World) -> None:
    world.say("never", time.time(), Outcome.REFUSED, 500, b"{}")


def answer_in_html(world: World) -> None:
    world.say("never", time.time(), Outcome.REFUSED, 503, b"\n<html>")


def show_a_foreign_row(world: World) -> None:
    theirs = work.open_session(by=somebody("eve", tenant="acme"), metadata={})
    world.say("", time.time(), Outcome.OK, 200, f'{{"sessions":[{{"session_id":"{theirs.id}"}}]}}'.encode())


PLANTS: list[tuple[Plant, list[str]]] = [
    (lose_an_acknowledged_effect, ["lost"]),
    (double_an_effect, ["doubled"]),
    (do_what_was_refused, ["refused and done"]),
    (do_what_nobody_asked_for, ["unasked"]),
    (answer_otherwise_the_second_time, ["answers differ"]),
    (answer_twice_as_the_first, ["answers differ"]),
    (answer_with_the_row_of_another, ["answer of another"]),
    (skip_a_version, ["version"]),
    (leave_a_final_state, ["path"]),
    (stand_where_no_event_led, ["path"]),
    (rewrite_an_event, ["chain"]),
    (rewrite_the_head, ["chain"]),
    (know_before_it_happens, ["clock"]),
    (ask_after_it_happened, ["clock"]),
    (turn_two_moves_round, ["order"]),
    (answer_with_a_fault, ["fault"]),
    (answer_in_html, ["html"]),
    (show_a_foreign_row, ["foreign"]),
]


@pytest.mark.parametrize(("plant", "rules"), PLANTS, ids=[plant.__name__ for plant, _ in PLANTS])
def test_finds_a_planted_violation(world: World, plant: Plant, rules: list[str]) -> None:
    assert found(world) == []
    plant(world)
    assert found(world) == rules


@pytest.mark.parametrize(("plant", "rules"), TASK_PLANTS, ids=[plant.__name__ for plant, _ in TASK_PLANTS])
def test_finds_a_violation_planted_in_tasks_and_approvals(world: World, plant: Plant, rules: list[str]) -> None:
    assert found(world) == []
    plant(world)
    assert found(world) == rules


def test_finds_a_transaction_left_open(world: World) -> None:
    with superuser_connection() as idle:
        idle.execute("BEGIN")
        idle.execute("SELECT 1")
        assert found(world) == ["left over"]
        idle.execute("ROLLBACK")
    assert found(world) == []


def test_finds_a_lock_left_held(world: World) -> None:
    with superuser_connection() as holder:
        holder.execute("SELECT pg_advisory_lock(1)")
        assert found(world) == ["left over"]


def test_finds_a_connection_left_behind(world: World) -> None:
    with superuser_connection() as left:
        left.execute("SELECT set_config('application_name', %s, false)", [SERVICE])
        assert found(world) == ["left over"]


def test_waits_for_what_is_about_to_go(world: World) -> None:
    with superuser_connection() as ending:
        ending.execute("SELECT pg_advisory_lock(1)")
        ending.execute("SET idle_session_timeout = '100ms'")
        assert check(world.history, world.beside, patience=5) == []


def test_every_rule_has_a_plant() -> None:
    assert {rule for _, rules in [*PLANTS, *TASK_PLANTS] for rule in rules} | {"left over"} == set(RULES)
