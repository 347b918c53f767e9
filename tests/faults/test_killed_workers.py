"""Workers are killed and Redis forgets, again and again, while keys are tried many times over and tasks are done."""

import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from tests.api import token
from tests.concurrency.tasks import assert_tasks_hold
from tests.database import superuser_connection
from tests.faults.checker import check
from tests.faults.crash import POINTS, crashing_key
from tests.faults.harness import Client, Service, again_and_again, all_at_once, serving, until_final
from tests.faults.history import Call, History
from tests.faults.task_work import completions, done, finish, told, work_on_tasks
from tests.faults.valkey import valkey

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

WORKERS = 4
CLIENTS = 8
AT_ONCE = 10
"""So many keys are tried at a time, so that attempts at one meet."""
DEADLY = 4
"""One key in so many kills the worker that first takes it, at a crash point."""


class Killer:
    """Kills one worker of four whenever no other is missing."""

    def __init__(self, service: Service, seed: int) -> None:
        self._service, self._chance, self.killed = service, random.Random(seed), 0

    def __call__(self) -> None:
        if len(self._service.ready()) >= WORKERS - 1:
            self._service.kill_one(self._chance)
            self.killed += 1


def keys_of(chance: random.Random, count: int) -> list[str]:
    return [crashing_key(chance.choice(POINTS), n) if n % DEADLY == 0 else f"key-{n}" for n in range(count)]


def attempts(client: Client, chance: random.Random, keys: list[str], times: int) -> list[Callable[[], Call]]:
    """So many attempts at each key, in an order that chance has chosen among those that are tried at a time."""
    chosen: list[str] = []
    for start in range(0, len(keys), AT_ONCE):
        block = keys[start : start + AT_ONCE] * times
        chance.shuffle(block)
        chosen += block
    return [partial(client.open, key) for key in chosen]


def test_150_keys_tried_20_times_have_150_effects_and_one_answer_each() -> None:
    chance, history = random.Random(1), History()
    keys = keys_of(chance, 150)
    with valkey() as redis, serving(workers=WORKERS, FAULT_POINT=" ".join(POINTS), REDIS_URL=redis.url) as service:
        killer, client = Killer(service, 1), Client(service.base, history)
        with again_and_again(0.2, killer), again_and_again(1 / 30, redis.flush):
            all_at_once(CLIENTS, attempts(client, chance, keys, 20))
        service.wait_for(1)
        last = [until_final(partial(client.open, key)) for key in keys]
    with superuser_connection() as beside:
        assert check(history, beside) == []
        count = beside.execute("SELECT count(*), count(DISTINCT metadata->>'key') FROM sessions").fetchone()
    assert count == (150, 150)
    assert len({call.body for call in last}) == 150
    outcomes = Counter((str(call.outcome), call.status) for call in history.calls)
    crashed = len(keys[::DEADLY])
    print(f"{len(history.calls)} attempts, {crashed + killer.killed} workers killed: {dict(outcomes)}")
    assert {status for _, status in outcomes} == {0, 201, 409}
    # A worker takes with it every connection that it has accepted.
    assert crashed <= outcomes["unknown", 0] <= (crashed + killer.killed) * CLIENTS


def test_60_tasks_are_each_done_once_though_the_workers_that_serve_them_die() -> None:
    chance, history = random.Random(2), History()
    keys = keys_of(chance, 60)
    with valkey() as redis, serving(workers=WORKERS, FAULT_POINT=" ".join(POINTS), REDIS_URL=redis.url) as service:
        killer, client = Killer(service, 2), Client(service.base, history)
        operator = Client(service.base, history, token("olga", roles="operator", agent_roles=""))
        with again_and_again(0.2, killer), again_and_again(1 / 30, redis.flush):
            all_at_once(CLIENTS, [partial(work_on_tasks, client, keys[n::CLIENTS]) for n in range(CLIENTS)])
        print(f"{killer.killed + len(keys[::DEADLY])} workers killed: {told(history)}")
        service.wait_for(WORKERS)
        finish(client, operator, history)
    with superuser_connection() as beside:
        assert check(history, beside) == []
        count = beside.execute("SELECT count(*), count(*) FILTER (WHERE status = 'completed') FROM tasks").fetchone()
        ends = beside.execute("SELECT count(*) FROM audit_events WHERE event_type = 'task.completed'").fetchone()
    assert (count, ends) == ((60, 60), (60,))
    assert_tasks_hold()
    # Without a lost answer nothing would be shown here.
    assert sum(not done(call) for call in completions(history)) > 0
