"""PostgreSQL is stopped at once and started again, under load: 503 meanwhile, and nothing doubled or lost."""

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import count, takewhile

import pytest

from tests.api import token
from tests.faults.checker import check
from tests.faults.harness import Client, Postgres, again_and_again, all_at_once, postgres, serving, until_final
from tests.faults.history import Call, History, Outcome
from tests.faults.task_work import finish, told, work_on_tasks

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

RESTARTS = 4
AWAY_SECONDS = 0.4
UP_SECONDS = 2.0
FIRST_SUCCESS_SECONDS = 3.0


def restart(database: Postgres) -> float:
    """When it was up again."""
    database.crash()
    time.sleep(AWAY_SECONDS)
    database.start()
    return time.time()


def work_of(client: Client, worker: int, calls: list[Call], until: list[float]) -> None:
    """Open sessions under key after key, and move each; try each key again until it has its answer, as callers do."""
    n = 0
    while time.monotonic() < until[0]:
        n += 1
        opened = until_final(partial(client.open, f"open-{worker}-{n}"))
        at = f"/sessions/{_id_in(opened)}"
        calls.append(until_final(partial(client.move, at, "active", f"move-{worker}-{n}")))
        calls.append(until_final(partial(client.move, at, "pending", f"back-{worker}-{n}")))


def tasks_of(client: Client, worker: int, until: list[float]) -> None:
    """Route tasks and do them."""
    work_on_tasks(client, takewhile(lambda _: time.monotonic() < until[0], (f"route-{worker}-{n}" for n in count())))


def _id_in(call: Call) -> str:
    return call.body.decode().partition('"session_id":"')[2][:36]


def test_four_immediate_restarts_under_load_double_and_lose_nothing() -> None:
    history, up = History(), list[float]()
    finals: list[Call] = []
    with postgres() as database, serving(database.service, workers=2) as service:
        client = Client(service.base, history)
        until = [time.monotonic() + (RESTARTS + 1) * (UP_SECONDS + AWAY_SECONDS)]
        with again_and_again(UP_SECONDS, lambda: up.append(restart(database)) if len(up) < RESTARTS else None):
            work: list[Callable[[], None]] = [partial(work_of, client, n, finals, until) for n in range(4)]
            work += [partial(tasks_of, client, n, until) for n in range(2)]
            all_at_once(len(work), work)
        assert len(up) == RESTARTS
        how = told(history)
        finish(client, Client(service.base, history, token("olga", roles="operator", agent_roles="")), history)
        repeated = [client.open(key) for key in list(history.by_key())[:50] if key.startswith("open")]
        with database.superuser() as beside:
            assert check(history, beside, ended=False) == []
            unfinished = beside.execute("SELECT count(*) FROM tasks WHERE status <> 'completed'").fetchone()
    statuses = Counter((str(call.outcome), call.status) for call in history.calls)
    waits = [
        min(call.ended for call in history.calls if call.outcome is Outcome.OK and call.ended > at) - at for at in up
    ]
    print(f"{dict(statuses)}; first success {', '.join(f'{wait:.2f}' for wait in waits)} s after each start; {how}")
    assert unfinished == (0,)
    # No connection is cut: the service answers, whatever the database does.
    assert {status for _, status in statuses} == {200, 201, 202, 409, 503}
    assert statuses["refused", 503] >= RESTARTS
    assert all(call.replayed for call in repeated)
    assert {call.status for call in finals} == {200, 409}
    assert max(waits) <= FIRST_SUCCESS_SECONDS
    for call in history.calls:
        assert call.status != 503 or b"/problems/service-unavailable" in call.body
