"""Whatever workers, operators, sweeps, crashes and the clock do to tasks, in whatever order: what must hold, holds."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import pytest
from django.db import connection
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from orchestrator import boundary
from orchestrator.clock import database_now
from orchestrator.problems import Problem, Unauthenticated
from orchestrator.work_problems import AlreadyRetried, DeadlineExceeded, IllegalTransition, LeaseLost
from sessions_app import queue
from sessions_app.duties import DEADLINE_DUTIES, LEASE_DUTIES
from sessions_app.models import Task
from sessions_app.sweeping import sweep
from sessions_app.transitions import lease
from sessions_app.transitions import task as transitions
from tests.concurrency import clock, tasks
from tests.concurrency.tasks import TERMINAL, assert_tasks_hold
from tests.concurrency.told import refusals_of_all
from tests.database import superuser_connection
from tests.sessions_app.session_calls import somebody

pytestmark = pytest.mark.django_db(transaction=True)

T = TypeVar("T")

WORKERS = ("finn", "fiona", "frank")
STEP = timedelta(hours=1)
"""How far a step of the clock goes. No example takes as long, so that nothing else moves what is timed in hours."""
LASTING = STEP / 2
ERROR = {"code": "broken", "message": "It broke."}

SELDOM = st.sampled_from([False, False, False, False, True])

tenants = count()


class Crashed(Exception):  # noqa: N818  no mistake
    """A process that ends just before its COMMIT."""


@dataclass
class Held:
    """A lease as the worker knows it that was given the token."""

    task: UUID
    epoch: int
    token: str
    worker: str
    last: tuple[str, Any] | None = None
    """The call that ended it, where it was one of the worker's."""


@dataclass
class Known:
    """A task as it must be, by what has been done."""

    epoch: int = 0
    status: str = "pending"
    elapsed: int = 0
    """Steps of the clock since its lease began, those back taken off."""
    left: int | None = None
    """Steps until it is past its deadline, if it has one."""
    called_off: bool = False
    retried: bool = False
    creator: str = ""
    retry_of: UUID | None = None
    holder: str = ""
    """Who held it last."""
    refusals: int = 0
    holders: set[str] = field(default_factory=set)
    """Who ever held it."""
    deciders: set[str] = field(default_factory=set)
    """Who decided about it."""

    @property
    def lapsed(self) -> bool:
        """Whether its lease has run out; one that nobody has swept is good again when the clock goes back."""
        return self.status == "active" and self.elapsed > 0

    @property
    def overdue(self) -> bool:
        return self.left is not None and self.left <= 0


class Tasks(RuleBasedStateMachine):
    """Tasks of a tenant of their own, a few workers, and an operator."""

    def __init__(self) -> None:
        super().__init__()
        self.tenant = f"machine-{next(tenants)}"
        self.known: dict[UUID, Known] = {}
        self.leases: list[Held] = []
        self.deleted: dict[UUID, Known] = {}
        self.epochs: dict[UUID, int] = {}

    # How things are done.

    def act(self, work: Callable[[], T], *, crash: bool) -> T | None:
        """Do it in a transaction; or all but its COMMIT, which leaves nothing."""
        if not crash:
            return boundary.write(work)

        def doomed() -> None:
            work()
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            raise Crashed

        with suppress(Crashed):
            boundary.write(doomed)
        return None

    def worker(self, name: str) -> Any:
        return somebody(name, tenant=self.tenant)

    def any(self, *states: str) -> bool:
        return any(task.status in states for task in self.known.values())

    def some(self, data: st.DataObject, status: str) -> Task:
        """A task, most often one in this state."""
        fit = [pk for pk, task in self.known.items() if task.status == status]
        return Task.objects.get(pk=data.draw(st.sampled_from(self.mostly(data, fit, list(self.known)))))

    def lease(self, data: st.DataObject) -> Held:
        """A lease that somebody knows the token of, most often one that is good."""
        good = [held for held in self.leases if self.is_good(held)]
        return data.draw(st.sampled_from(self.mostly(data, good, self.leases)))

    def mostly(self, data: st.DataObject, fit: list[T], others: list[T]) -> list[T]:
        return fit if fit and not data.draw(SELDOM) else others

    def is_good(self, held: Held) -> bool:
        task = self.known[held.task]
        return task.status == "active" and task.epoch == held.epoch and not task.lapsed

    # What callers do.

    @initialize()
    def begin(self) -> None:
        for _ in range(2):
            self.route(attempts=2, timed=False, crash=False)
        self.claim(worker="finn", most=1, crash=False)

    @precondition(lambda self: len(self.known) < 5)
    @rule(attempts=st.integers(1, 3), timed=SELDOM, crash=SELDOM)
    def route(self, attempts: int, timed: bool, crash: bool) -> None:
        deadline = database_now() + 1.5 * STEP if timed else None
        work = transitions.Work(
            task_type="routing", from_role="manager", to_role="finance", max_attempts=attempts, deadline=deadline
        )
        task = self.act(lambda: transitions.route(work, actor=tasks.manager(self.tenant)), crash=crash)
        if task is not None:
            self.made(task)

    def made(self, task: Task) -> None:
        left = None if task.deadline is None else round((task.deadline - database_now()) / STEP + 0.5)
        creator, retry_of = task.created_by.subject, task.retry_of_id
        self.known[task.pk] = Known(status=str(task.status), left=left, creator=creator, retry_of=retry_of)

    @precondition(lambda self: self.any("pending"))
    @rule(worker=st.sampled_from(WORKERS), most=st.integers(1, 3), crash=SELDOM)
    def claim(self, worker: str, most: int, crash: bool) -> None:
        actor = self.worker(worker)
        rows = queue.claimable(actor, ["finance"], None, most)
        if self.is_cut_off(worker):
            with pytest.raises(Unauthenticated):
                self.act(lambda: lease.claim(rows.all(), actor=actor, lasting=LASTING), crash=crash)
            return
        there = rows.count()
        grants = self.act(lambda: lease.claim(rows.all(), actor=actor, lasting=LASTING), crash=crash)
        if grants is None:
            return
        # A pause may end between the two looks.
        assert there <= len(grants) <= most
        for grant in grants:
            task = self.known[grant.task.pk]
            assert (task.status, task.overdue) == ("pending", False)
            task.status, task.elapsed = "active", 0
            task.epoch += 1
            assert self.names_of(worker).isdisjoint(task.deciders)
            task.holders.add(worker)
            task.holder = worker
            self.leases.append(Held(grant.task.pk, grant.task.lease_epoch, grant.token, worker))
            assert grant.task.lease_epoch == task.epoch

    def is_cut_off(self, name: str) -> bool:
        """Whether calls of this name are refused."""
        return False

    def names_of(self, name: str) -> set[str]:
        """All names of one person."""
        return {name}

    @precondition(lambda self: self.leases and self.any("active"))
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        """The worker died with its token."""
        self.leases.remove(self.lease(data))

    @precondition(lambda self: self.leases and self.any("active"))
    @rule(data=st.data(), percent=st.integers(0, 100), crash=SELDOM)
    def heartbeat(self, data: st.DataObject, percent: int, crash: bool) -> None:
        held = self.lease(data)
        call = partial(lease.heartbeat, self.task(held), token=held.token, progress={"percent": percent})
        self.holders(held, ("heartbeat", percent), call, crash=crash, ends=None)

    @precondition(lambda self: self.leases and self.any("active"))
    @rule(data=st.data(), output=st.sampled_from([None, {"sum": 1}]), crash=SELDOM)
    def complete(self, data: st.DataObject, output: Any, crash: bool) -> None:
        held = self.lease(data)
        call = partial(lease.complete, self.task(held), token=held.token, output=output)
        self.holders(held, ("complete", output), call, crash=crash, ends="completed")

    @precondition(lambda self: self.leases and self.any("active"))
    @rule(data=st.data(), retryable=st.booleans(), crash=SELDOM)
    def fail(self, data: st.DataObject, retryable: bool, crash: bool) -> None:
        held = self.lease(data)
        call = partial(lease.fail, self.task(held), token=held.token, error=ERROR, retryable=retryable)
        self.holders(held, ("fail", retryable), call, crash=crash, ends="failed")

    @precondition(lambda self: self.leases and self.any("active"))
    @rule(data=st.data(), crash=SELDOM)
    def release(self, data: st.DataObject, crash: bool) -> None:
        held = self.lease(data)
        call = partial(lease.release, self.task(held), token=held.token)
        self.holders(held, ("release", None), call, crash=crash, ends="pending")

    @precondition(lambda self: self.leases and self.any("active"))
    @rule(data=st.data(), thief=st.sampled_from(WORKERS))
    def steal(self, data: st.DataObject, thief: str) -> None:
        """A token in other hands is worth nothing."""
        held = self.lease(data)
        if thief != held.worker:
            self.refused(LeaseLost, held, partial(lease.release, self.task(held), token=held.token), by=thief)

    def holders(
        self, held: Held, said: tuple[str, Any], call: Callable[..., Task], *, crash: bool, ends: str | None
    ) -> None:
        """A call of whoever was given the token: done where the lease is good, told again where it is a repetition."""
        task, good = self.known[held.task], self.is_good(held)
        if not good and held.last == said and ends is not None:
            before = Task.objects.get(pk=held.task).version
            assert boundary.write(partial(call, actor=self.worker(held.worker))).version == before
        elif not good:
            self.refused(LeaseLost, held, call)
        elif task.overdue and ends in (None, "completed"):
            self.refused(DeadlineExceeded, held, call)
        else:
            done = self.act(partial(call, actor=self.worker(held.worker)), crash=crash)
            if done is not None and ends is None:
                task.elapsed = 0
            elif done is not None and ends is not None:
                held.last = said
                self.ended(task, done, ends)

    def ended(self, task: Known, done: Task, ends: str) -> None:
        if task.called_off and ends != "completed":
            assert done.status == "cancelled"
        elif ends == "failed":
            assert done.status in ("pending", "failed")
        elif ends == "pending" and task.overdue:
            assert done.status == "failed"
        else:
            assert done.status == ends
        task.status = str(done.status)

    def refused(self, why: type[Problem], held: Held, call: Callable[..., Task], by: str | None = None) -> None:
        with pytest.raises(why):
            boundary.write(partial(call, actor=self.worker(by or held.worker)))
        self.known[held.task].refusals += 1

    def task(self, held: Held) -> Task:
        return Task.objects.get(pk=held.task)

    # What operators do.

    @rule(data=st.data(), crash=SELDOM)
    def cancel(self, data: st.DataObject, crash: bool) -> None:
        row = self.some(data, "active")
        task = self.known[row.pk]
        call = partial(transitions.cancel, row, actor=self.worker("olga"))
        if task.status in TERMINAL:
            with pytest.raises(IllegalTransition):
                self.act(call, crash=crash)
        elif (done := self.act(call, crash=crash)) is not None:
            asked = task.status == "active" and not task.lapsed
            assert done.status == ("active" if asked else "cancelled")
            task.status, task.called_off = str(done.status), task.called_off or asked

    @precondition(lambda self: self.any("active"))
    @rule(data=st.data(), crash=SELDOM)
    def force_release(self, data: st.DataObject, crash: bool) -> None:
        row = self.some(data, "active")
        task = self.known[row.pk]
        call = partial(lease.force_release, row, reason="it hangs", actor=self.worker("olga"))
        if task.status != "active":
            with pytest.raises(IllegalTransition):
                self.act(call, crash=crash)
        elif (done := self.act(call, crash=crash)) is not None:
            if task.called_off or task.overdue:
                assert done.status == ("cancelled" if task.called_off else "failed")
            else:
                # As the sweep would have: it may have been the last attempt.
                assert done.status in (("pending", "failed") if task.lapsed else ("pending",))
            task.status = str(done.status)

    @precondition(lambda self: self.any("failed"))
    @rule(data=st.data(), crash=SELDOM)
    def retry(self, data: st.DataObject, crash: bool) -> None:
        row = self.some(data, "failed")
        task = self.known[row.pk]
        call = partial(transitions.retry, row, actor=self.worker("olga"))
        if task.status != "failed" or task.retried:
            with pytest.raises(AlreadyRetried if task.retried else IllegalTransition):
                self.act(call, crash=crash)
        elif (again := self.act(call, crash=crash)) is not None:
            task.retried = True
            assert (again.deadline is None) == (task.left is None or task.overdue)
            self.made(again)

    # What happens.

    @precondition(lambda self: any(map(self.is_due, self.known.values())))
    @rule()
    def sweep(self) -> None:
        due = {pk for pk, task in self.known.items() if self.is_due(task)}
        for duty, _ in (*DEADLINE_DUTIES, *LEASE_DUTIES):
            assert sweep(duty).poison == {}
        for row in Task.objects.filter(pk__in=due):
            task = self.known[row.pk]
            if task.called_off:
                assert row.status == "cancelled"
            elif task.overdue:
                assert (row.status, (row.error or {})["code"]) == ("failed", "deadline-exceeded")
            else:
                assert row.status in ("pending", "failed")
            task.status = str(row.status)

    @staticmethod
    def is_due(task: Known) -> bool:
        return task.lapsed or (task.overdue and task.status not in TERMINAL)

    @precondition(lambda self: self.any("active", "pending"))
    @rule(steps=st.sampled_from([1, 1, -1]))
    def the_clock_makes_a_step(self, steps: int) -> None:
        """On or back: leases lapse and deadlines pass, or it is as if they never had, unless somebody acted on it."""
        with superuser_connection() as beside, beside.transaction():
            clock.step(beside, self.tenant, steps * STEP)
            self.also_passes(beside, steps * STEP)
        for task in self.known.values():
            task.elapsed += steps
            task.left = None if task.left is None else task.left - steps

    def also_passes(self, beside: psycopg.Connection[Any], step: timedelta) -> None:
        """What else is timed."""

    # What holds.

    @invariant()
    def every_task_is_as_what_was_done_to_it_left_it(self) -> None:
        assert_tasks_hold(self.tenant)
        rows, now = {row.pk: row for row in Task.objects.filter(tenant=self.tenant)}, database_now()
        assert rows.keys() == self.known.keys()
        for pk, row in rows.items():
            task = self.known[pk]
            assert (row.status, row.lease_epoch) == (task.status, task.epoch)
            assert row.lease_epoch >= self.epochs.get(pk, 0)
            assert row.cancel_requested == task.called_off
            assert (row.lease_expires_at is not None and row.lease_expires_at <= now) == task.lapsed
            assert (row.deadline is not None and row.deadline <= now) == task.overdue
            self.epochs[pk] = row.lease_epoch

    def teardown(self) -> None:
        """Every refused call of a holder, and nothing else, is remembered beside the chains."""
        remembered = refusals_of_all("task", self.tenant)
        known = {**self.known, **self.deleted}
        assert remembered == {pk: task.refusals for pk, task in known.items() if task.refusals}


def run(machine: type[Tasks], examples: int, steps: int, *, at_least: int = 0) -> None:
    """Run a machine. Hypothesis ends most examples early unless it is given a least number of steps."""
    run_state_machine_as_test(
        machine,
        _min_steps=at_least,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            # What fails is told as it came about: to find the shortest way there would take minutes.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_whatever_is_done_to_tasks_leaves_them_whole() -> None:
    run(Tasks, examples=15, steps=30)


@pytest.mark.long
def test_whatever_is_done_to_tasks_leaves_them_whole_for_long() -> None:
    run(Tasks, examples=150, steps=60)
