"""Many workers who claim at once: each task goes to exactly one. And workers who die, or are thought dead."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest

from sessions_app.duties import DEADLINE_DUTIES, LEASE_DUTIES
from sessions_app.models import Attempt, Task
from sessions_app.sweeping import sweep
from tests.api import Api
from tests.concurrency import tasks
from tests.concurrency.racing import at_once, bearer, finn, kind
from tests.concurrency.tasks import assert_tasks_hold, lapse, path
from tests.concurrency.told import refusals, words
from tests.concurrency.worker import drained
from tests.database import superuser_connection
from tests.gunicorn_server import HERE, environment
from tests.work import events

pytestmark = pytest.mark.django_db(transaction=True)

WORKERS = 8
MANY = 2_000
ROLES = ("finance", "legal", "research")


@contextmanager
def worker(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tests.concurrency.worker", *arguments]
    env = {**environment(), "DJANGO_SETTINGS_MODULE": "tests.settings", "TEST_DATABASE_URL": _service_address()}
    with subprocess.Popen(
        command, cwd=HERE, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _service_address() -> str:
    return environment()["DATABASE_URL"]


def assert_each_claimed_once(rows: Sequence[Task], shares: Sequence[Sequence[str]]) -> None:
    """Each went to one of them, and each of them got some; one attempt and one event tell of each."""
    got = [pk for share in shares for pk in share]
    assert len(got) == len(set(got))
    assert set(got) == {str(task.pk) for task in rows}
    assert all(shares)
    assert Task.objects.filter(status="active", lease_epoch=1, version=2).count() == len(rows)
    assert Attempt.objects.filter(epoch=1, attempt=1, ended_at=None).count() == len(rows)
    assert Counter(event["event_type"] for event in events()) == {"task.created": len(rows), "task.claimed": len(rows)}
    assert_tasks_hold()


@pytest.mark.slow
def test_eight_processes_claim_two_thousand_tasks_each_once() -> None:
    rows = tasks.many_routed(MANY)
    with worker("drain", str(WORKERS)) as crowd:
        said, _ = crowd.communicate(timeout=60)
    assert crowd.returncode == 0
    shares = [json.loads(line) for line in said.splitlines()]
    assert len(shares) == WORKERS
    assert_each_claimed_once(rows, shares)
    holders = Counter(Attempt.objects.values_list("holder_subject", flat=True))
    assert sorted(holders.values()) == sorted(map(len, shares))


@pytest.mark.slow
def test_eight_threads_with_several_roles_claim_two_thousand_tasks_each_once() -> None:
    rows = tasks.many_routed(MANY, to_roles=ROLES)
    shares = at_once(*(lambda n=n: drained(f"worker-{n}", ROLES, 10) for n in range(WORKERS)))
    assert_each_claimed_once(rows, [[str(grant.task.pk) for grant in share] for share in shares])
    tokens = {grant.token for share in shares for grant in share}
    assert len(tokens) == MANY


def test_eight_callers_with_roles_that_overlap_claim_each_task_once_and_only_theirs() -> None:
    rows = tasks.many_routed(160, to_roles=ROLES)
    theirs = [[ROLES[n % 3], ROLES[(n + 1) % 3]] for n in range(WORKERS)]

    def work(n: int) -> list[dict[str, Any]]:
        api, got = Api(bearer(f"worker-{n}", "agent", ",".join(theirs[n]))), list[dict[str, Any]]()
        while claimed := api.post("/tasks/claim", {"max": 1 + n % 3}).json()["tasks"]:
            got += claimed
        return got

    shares = at_once(*(lambda n=n: work(n) for n in range(WORKERS)))
    for n, share in enumerate(shares):
        assert {task["to_role"] for task in share} <= set(theirs[n])
    assert_each_claimed_once(rows, [[task["task_id"] for task in share] for share in shares])


def test_one_who_claims_alone_gets_the_highest_priority_first_then_the_oldest() -> None:
    rows = tasks.many_routed(60, to_roles=ROLES)
    order = sorted(rows, key=lambda task: (-task.priority, task.created_at, task.pk))
    assert [grant.task.pk for grant in drained("finn", ROLES, 7)] == [task.pk for task in order]


# Workers who die, or are thought dead.


def held_by(process: "subprocess.Popen[str]") -> tuple[Task, str]:
    """The task that a worker has claimed, and the token it holds it by."""
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    return Task.objects.get(pk=UUID(said["task_id"])), said["token"]


def put_back(task: Task) -> None:
    """Its lease runs out, a sweep comes by, and the pause before the next attempt passes."""
    lapse(task)
    assert [sweep(duty).moved for duty, _ in (*DEADLINE_DUTIES, *LEASE_DUTIES)] == [0, 0, 0, 0, 0, 1]
    assert words(task) == ["created", "claimed", "requeued"]
    with superuser_connection() as beside, beside.transaction():
        beside.execute("ALTER TABLE tasks DISABLE TRIGGER tasks_complete_update")
        beside.execute("UPDATE tasks SET not_before = clock_timestamp() WHERE id = %s", [task.pk])
        beside.execute("ALTER TABLE tasks ENABLE ALWAYS TRIGGER tasks_complete_update")


def done_by_another(task: Task) -> None:
    fiona = Api(bearer("fiona"))
    (claimed,) = fiona.post("/tasks/claim", {"max": 10}).json()["tasks"]
    assert (claimed["task_id"], claimed["attempt"], claimed["lease"]["epoch"]) == (str(task.pk), 2, 2)
    proof = {"lease_token": claimed["lease"]["token"], "output": {"by": "fiona"}}
    assert fiona.post(path(task, "complete"), proof).status_code == 200


def assert_done_once_by_another(task: Task) -> None:
    stored = Task.objects.get(pk=task.pk)
    assert (stored.status, stored.output, stored.attempt) == ("completed", {"by": "fiona"}, 2)
    assert words(task) == ["created", "claimed", "requeued", "claimed", "completed"]
    ended = Attempt.objects.filter(task=task).order_by("epoch").values_list("holder_subject", "outcome")
    assert list(ended) == [("finn", "lease-lost"), ("fiona", "completed")]
    assert_tasks_hold()


def test_what_a_killed_worker_held_is_done_once_by_another_and_its_late_call_is_refused() -> None:
    tasks.routed()
    with worker("hold") as victim:
        task, token = held_by(victim)
        os.kill(victim.pid, signal.SIGKILL)
        assert victim.wait(10) == -signal.SIGKILL
    assert Task.objects.get(pk=task.pk).status == "active"
    put_back(task)
    early = finn().post(path(task, "complete"), {"lease_token": token})
    done_by_another(task)
    # What it had sent before it died, and what was long on its way.
    late = [finn().post(path(task, verb), {"lease_token": token}) for verb in ("complete", "heartbeat", "release")]
    for refused in (early, *late):
        assert (refused.status_code, kind(refused)) == (409, "lease-lost")
    assert refusals(task) == ["lease-lost"] * 4
    assert_done_once_by_another(task)


def test_a_worker_that_stood_still_and_goes_on_is_refused() -> None:
    tasks.routed()
    with worker("hold") as zombie:
        task, _ = held_by(zombie)
        os.kill(zombie.pid, signal.SIGSTOP)
        put_back(task)
        done_by_another(task)
        assert zombie.stdin is not None
        zombie.stdin.write("\n")
        zombie.stdin.flush()
        os.kill(zombie.pid, signal.SIGCONT)
        said, _ = zombie.communicate(timeout=20)
    late = json.loads(said)
    assert (late["status"], late["type"]) == (409, "/problems/lease-lost")
    assert refusals(task) == ["lease-lost"]
    assert_done_once_by_another(task)
