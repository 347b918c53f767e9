"""Tasks about which people are asked: whatever is done to both, in whatever order, what must hold, holds."""

from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from orchestrator import boundary
from orchestrator.problems import Forbidden, Problem, SeparationOfDuties
from orchestrator.work_problems import (
    AlreadyConsumed,
    AlreadyDecided,
    ApprovalExpired,
    DeadlineExceeded,
    IllegalTransition,
)
from sessions_app.models import Approval, Task
from sessions_app.transitions import approvals as transitions
from sessions_app.transitions import task as tasks
from sessions_app.transitions.approvals import Question
from tests.concurrency.approvals import assert_approvals_hold, expire
from tests.concurrency.tasks import TERMINAL, manager
from tests.concurrency.test_task_machine import SELDOM, WORKERS, Known, Tasks, run
from tests.concurrency.told import refusals_of_all
from tests.sessions_app.approval_calls import ACTION, DAY, approver, task_id

pytestmark = pytest.mark.django_db(transaction=True)

DECIDERS = ("petra", "max", "frank")
"""One of them works, too."""
ASKERS = ("fiona", "finn", "frank", "olga")
ROLES = st.sampled_from(["manager", "manager", "board"])


@dataclass
class Asked:
    """A question as it must be, by what has been done."""

    task: UUID
    asker: str
    role: str
    needed: int
    blocks: bool
    at: int
    """Which act asked it: those that were asked together have the same."""
    status: str = "pending"
    late: bool = False
    used: bool = False
    refusals: int = 0
    deciders: set[str] = field(default_factory=set)

    def replaces(self, other: "Asked") -> bool:
        return self.role == other.role and self.needed >= other.needed and self.at > other.at


class Approvals(Tasks):
    """The same tasks, with people who ask, decide, withdraw and use."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[UUID, Asked] = {}
        self.acts = 0

    # What is known of them.

    def made(self, task: Task) -> None:
        """With its questions: those of the one that it retries, where it does."""
        super().made(task)
        self.acts += 1
        for row in Approval.objects.filter(task=task):
            self.learn(row, row.created_by.subject)
        if task.retry_of_id is not None:
            again, before = (
                sorted((one.role, one.needed) for one in self.asked.values() if one.task == pk and one.blocks)
                for pk in (task.pk, task.retry_of_id)
            )
            assert again == before

    def learn(self, row: Approval, asker: str) -> None:
        asked = Asked(task_id(row), asker, row.approver_role, row.required_approvals, row.blocks, self.acts)
        self.asked[row.pk] = asked

    def waited_for(self, task: UUID) -> list[Asked]:
        return [one for one in self.asked.values() if one.task == task and one.blocks]

    def is_open(self, task: UUID) -> bool:
        return any(one.status == "pending" for one in self.waited_for(task))

    def question(self, data: st.DataObject, status: str) -> tuple[Approval, Asked, Known]:
        fit = [pk for pk, one in self.asked.items() if one.status == status]
        pk = data.draw(st.sampled_from(self.mostly(data, fit, list(self.asked))))
        return Approval.objects.get(pk=pk), self.asked[pk], self.known[self.asked[pk].task]

    def no(self, why: type[Problem], asked: Asked, call: Any, *, remembered: bool = True) -> None:
        with pytest.raises(why):
            boundary.write(call)
        asked.refusals += remembered

    # What people do.

    @precondition(lambda self: len(self.known) < 5)
    @rule(roles=st.lists(ROLES, min_size=1, max_size=2), needed=st.integers(1, 2), crash=SELDOM)
    def route_and_ask(self, roles: list[str], needed: int, crash: bool) -> None:
        work = tasks.Work(task_type="routing", from_role="manager", to_role="finance", max_attempts=2)
        questions = [
            Question(approver_role=role, lasting=DAY, required_approvals=needed, action=ACTION) for role in roles
        ]
        task = self.act(lambda: tasks.route(work, questions=questions, actor=manager(self.tenant)), crash=crash)
        if task is not None:
            self.made(task)

    @precondition(lambda self: self.any("pending", "blocked", "active") and len(self.asked) < 12)
    @rule(
        data=st.data(), asker=st.sampled_from(ASKERS), role=ROLES, needed=st.integers(1, 2), timed=SELDOM, crash=SELDOM
    )
    def ask(self, data: st.DataObject, asker: str, role: str, needed: int, timed: bool, crash: bool) -> None:
        row = self.some(data, data.draw(st.sampled_from(["pending", "blocked", "active"])))
        task = self.known[row.pk]
        lasting = timedelta(hours=1.5) if timed else DAY
        question = Question(approver_role=role, lasting=lasting, required_approvals=needed, action=ACTION)
        call = partial(transitions.request, row, question, actor=self.worker(asker))
        lapsed = task.status == "active" and task.lapsed
        over = task.status in TERMINAL or task.overdue
        if over or (lapsed and (task.called_off or row.attempt >= row.max_attempts)):
            with pytest.raises(IllegalTransition):
                self.act(call, crash=crash)
        elif (approval := self.act(call, crash=crash)) is not None:
            self.acts += 1
            self.learn(approval, asker)
            held = task.status == "active" and not lapsed
            assert approval.blocks is not held
            task.status = "active" if held else "blocked"

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), who=st.sampled_from(DECIDERS), yes=st.sampled_from([True, True, True, False]), crash=SELDOM)
    def decide(self, data: st.DataObject, who: str, yes: bool, crash: bool) -> None:
        row, asked, task = self.question(data, "pending")
        actor = approver(who, role=asked.role, tenant=self.tenant)
        call = partial(transitions.approve if yes else transitions.reject, row, actor=actor)
        holder = Task.objects.get(pk=asked.task).holder
        if who == asked.asker or (holder is not None and who == holder.subject):
            self.no(SeparationOfDuties, asked, call)
        elif asked.status == "pending" and asked.late:
            self.no(ApprovalExpired, asked, call)
        elif asked.status != "pending":
            self.no(IllegalTransition, asked, call)
        elif who in asked.deciders:
            self.no(AlreadyDecided, asked, call)
        elif self.act(call, crash=crash) is not None:
            asked.deciders.add(who)
            task.deciders.add(who)
            self.counts(asked, task, yes=yes)

    def counts(self, asked: Asked, task: Known, *, yes: bool) -> None:
        """One more has decided."""
        if not yes:
            asked.status = "rejected"
            if asked.blocks and task.status == "blocked":
                task.status = "failed"
        elif len(asked.deciders) == asked.needed:
            asked.status = "approved"
            self.goes_on(asked, task)

    def goes_on(self, asked: Asked, task: Known) -> None:
        """What the last yes does to a task that waited for it."""
        if task.status != "blocked" or not asked.blocks or self.is_open(asked.task):
            return
        all_of = self.waited_for(asked.task)
        granted = [one for one in all_of if one.status == "approved"]
        short = [
            one for one in all_of if one.status == "cancelled" and not any(other.replaces(one) for other in granted)
        ]
        task.status = "cancelled" if short else "pending"

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), who=st.sampled_from(["olga", "fiona"]), crash=SELDOM)
    def withdraw(self, data: st.DataObject, who: str, crash: bool) -> None:
        row, asked, task = self.question(data, "pending")
        call = partial(transitions.cancel, row, actor=self.worker(who))
        if asked.status == "pending" and asked.late:
            self.no(ApprovalExpired, asked, call)
        elif asked.status != "pending":
            self.no(IllegalTransition, asked, call, remembered=False)
        elif self.act(call, crash=crash) is not None:
            asked.status = "cancelled"
            if asked.blocks and task.status == "blocked" and not self.is_open(asked.task):
                task.status = "cancelled"

    @precondition(lambda self: any(one.status == "approved" for one in self.asked.values()))
    @rule(data=st.data(), who=st.sampled_from([*WORKERS, "olga"]), crash=SELDOM)
    def consume(self, data: st.DataObject, who: str, crash: bool) -> None:
        row, asked, task = self.question(data, "approved")
        call = partial(transitions.consume, row, ACTION, actor=self.worker(who))
        holder = Task.objects.get(pk=asked.task).holder
        holds = holder is not None and holder.subject == who and not task.lapsed
        if not holds and (who != asked.asker or who in task.holders):
            self.no(Forbidden, asked, call)
        elif asked.status != "approved" or task.status in TERMINAL or task.status == "blocked":
            self.no(IllegalTransition, asked, call, remembered=False)
        elif task.overdue:
            self.no(DeadlineExceeded, asked, call)
        elif asked.used:
            self.no(AlreadyConsumed, asked, call)
        elif self.act(call, crash=crash) is not None:
            asked.used = True

    # What happens.

    @precondition(lambda self: any(one.late and one.status == "pending" for one in self.asked.values()))
    @rule()
    def expire(self) -> None:
        expire()
        for one in self.asked.values():
            if one.late and one.status == "pending":
                one.status = "expired"
                task = self.known[one.task]
                if one.blocks and task.status == "blocked":
                    task.status = "failed"

    def also_passes(self, beside: psycopg.Connection[Any], step: timedelta) -> None:
        guards = ("approvals_keep_their_question", "approvals_complete_update")
        for guard in guards:
            beside.execute(f"ALTER TABLE approvals DISABLE TRIGGER {guard}")
        moved = "UPDATE approvals SET expires_at = expires_at - %s WHERE tenant = %s"
        beside.execute(moved, [step, self.tenant])
        beside.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for guard in guards:
            beside.execute(f"ALTER TABLE approvals ENABLE ALWAYS TRIGGER {guard}")
        late = beside.execute("SELECT id FROM approvals WHERE tenant = %s AND expires_at <= now()", [self.tenant])
        past = {pk for (pk,) in late}
        for pk, one in self.asked.items():
            one.late = pk in past

    # What holds.

    @invariant()
    def every_question_is_as_what_was_done_left_it(self) -> None:
        for one in self.asked.values():
            if one.status == "pending" and self.known[one.task].status in TERMINAL:
                one.status = "cancelled"
        rows = {row.pk: row for row in Approval.objects.filter(tenant=self.tenant)}
        assert rows.keys() == self.asked.keys()
        for pk, row in rows.items():
            asked = self.asked[pk]
            assert (row.status, row.consumed_at is not None) == (asked.status, asked.used)
            assert row.granted == len(asked.deciders) - (row.status == "rejected")
        assert_approvals_hold(self.tenant)

    def teardown(self) -> None:
        """Every refused decision and use, and nothing else, is remembered beside the chains."""
        super().teardown()
        remembered = refusals_of_all("approval", self.tenant)
        assert remembered == {pk: one.refusals for pk, one in self.asked.items() if one.refusals}


def test_whatever_is_done_to_tasks_and_approvals_leaves_them_whole() -> None:
    run(Approvals, examples=10, steps=30)


@pytest.mark.long
def test_whatever_is_done_to_tasks_and_approvals_leaves_them_whole_for_long() -> None:
    run(Approvals, examples=120, steps=60)
