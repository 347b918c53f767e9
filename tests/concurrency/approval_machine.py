"""The machine of requests: people ask about tasks, sessions and actions, decide, and use what was granted."""

from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from orchestrator import boundary
from orchestrator.problems import Forbidden, Problem, SeparationOfDuties, Unauthenticated
from orchestrator.work_problems import (
    ActionMismatch,
    AlreadyConsumed,
    AlreadyDecided,
    AlreadyRejected,
    AlreadyRequested,
    ApprovalExpired,
    ApprovalLapsed,
    DeadlineExceeded,
    IllegalTransition,
    NoDecision,
)
from sessions_app.duties import EXPIRE_SESSIONS
from sessions_app.models import Approval, Session, Task
from sessions_app.sweeping import sweep
from sessions_app.transitions import approvals as transitions
from sessions_app.transitions import session as sessions
from sessions_app.transitions import task as tasks
from sessions_app.transitions.approvals import Question
from tests.concurrency.approval_model import Asked, Opened, Rules
from tests.concurrency.approvals import assert_approvals_hold, expire, unguarded
from tests.concurrency.tasks import TERMINAL, manager
from tests.concurrency.test_task_machine import SELDOM, WORKERS, Known, Tasks
from tests.concurrency.told import refusals_of_all
from tests.sessions_app.approval_calls import ACTION, approver

DECIDERS = ("petra", "max", "pia", "paul", "frank")
"""One of them works, too."""
ASKERS = ("fiona", "finn", "frank", "olga")
ROLES = st.sampled_from(["manager", "manager", "board"])
ACTIONS = (ACTION, {**ACTION, "amount": 1})
ACTS = st.sampled_from([0, 0, 0, 0, 1, None])
SHORT, LONG = 1.5, 400.5
"""Hours for which a request is open, a grant good, or a session runs: a step and a half of the clock, or for good."""
OBSTACLES: dict[str | None, type[Problem]] = {
    "already-rejected": AlreadyRejected,
    "already-requested": AlreadyRequested,
}


class Approvals(Tasks):
    """The same tasks, with people who ask, decide, withdraw and use."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Rules()
        self.model.tasks = self.known
        self.asked = self.model.asked
        self.gone: dict[UUID, int] = {}
        self.acts = 0

    # What is known.

    def is_cut_off(self, name: str) -> bool:
        return name in self.model.cut

    def names_of(self, name: str) -> set[str]:
        return self.model.same(name)

    def made(self, task: Task) -> None:
        """With its requests: those of the one that it retries, where it does."""
        super().made(task)
        self.acts += 1
        rows = list(Approval.objects.filter(task=task).order_by("created_at", "pk"))
        for row in rows:
            self.learn(row)
        if task.retry_of_id is not None:
            again = [(one.role, one.needed, one.act, one.reopens) for one in map(self.of, rows)]
            assert sorted(again, key=str) == sorted(self.model.asked_again(task.retry_of_id), key=str)

    def of(self, row: Approval) -> Asked:
        return self.asked[row.pk]

    def learn(self, row: Approval) -> Asked:
        """A request that was just made."""
        assert row.use_within_seconds is not None
        self.asked[row.pk] = asked = Asked(
            pk=row.pk,
            task=row.task_id,
            session=row.session_id,
            asker=row.created_by.subject,
            role=row.approver_role,
            needed=row.required_approvals,
            act=None if row.action is None else ACTIONS.index(row.action),
            blocks=row.blocks,
            required=row.required,
            at=self.acts,
            until=self.model.hours + (row.expires_at - row.created_at).total_seconds() / 3600,
            good_for=row.use_within_seconds / 3600,
            reopens=row.reopens_id,
            replaces=row.replaces_id,
        )
        return asked

    def request(self, data: st.DataObject, *states: str) -> tuple[Approval, Asked]:
        """A request, most often one in such a state."""
        fit = [pk for pk, one in self.asked.items() if one.status in states]
        pk = data.draw(st.sampled_from(self.mostly(data, fit, list(self.asked))))
        return Approval.objects.get(pk=pk), self.asked[pk]

    def no(self, why: type[Problem], call: Any, asked: Asked | None = None) -> None:
        """Refused; where the request is named, that is remembered."""
        with pytest.raises(why):
            boundary.write(call)
        if asked is not None:
            asked.refusals += 1

    def is_refused(self, call: Any, asked: Asked, *checks: tuple[bool, type[Problem], bool]) -> bool:
        """Whether a call is refused, for the first reason that holds; some are remembered."""
        for holds, why, remembered in checks:
            if holds:
                self.no(why, call, asked if remembered else None)
                return True
        return False

    def question(self, role: str, act: int | None, needed: int, *, short: str = "", **more: Any) -> Question:
        return Question(
            approver_role=role,
            lasting=timedelta(hours=SHORT if short == "open" else LONG),
            use_within_seconds=int(3600 * (SHORT if short == "good" else LONG)),
            required_approvals=needed,
            action=None if act is None else ACTIONS[act],
            **more,
        )

    # What is asked.

    @initialize()
    def begin_with_requests(self) -> None:
        self.route_and_ask(roles=["manager", "board"], needed=1, short="", crash=False)
        question = self.question("manager", 0, 2)
        self.about_action(None, question, "finn", None, crash=False)

    @precondition(lambda self: len(self.known) < 5)
    @rule(
        roles=st.lists(st.sampled_from(["manager", "board"]), min_size=1, max_size=2, unique=True),
        needed=st.integers(1, 2),
        short=st.sampled_from(["", "open", "good"]),
        crash=SELDOM,
    )
    def route_and_ask(self, roles: list[str], needed: int, short: str, crash: bool) -> None:
        work = tasks.Work(task_type="routing", from_role="manager", to_role="finance", max_attempts=2)
        questions = [self.question(role, 0, needed, short=short) for role in roles]
        task = self.act(lambda: tasks.route(work, questions=questions, actor=manager(self.tenant)), crash=crash)
        if task is not None:
            self.made(task)

    @precondition(lambda self: self.any("pending", "blocked", "active") and len(self.asked) < 18)
    @rule(
        data=st.data(),
        asker=st.sampled_from(ASKERS),
        role=ROLES,
        act=ACTS,
        needed=st.integers(1, 2),
        short=st.sampled_from(["", "open", "good"]),
        crash=SELDOM,
    )
    def ask(
        self, data: st.DataObject, asker: str, role: str, act: int | None, needed: int, short: str, crash: bool
    ) -> None:
        row = self.some(data, data.draw(st.sampled_from(["pending", "blocked", "active"])))
        question = self.question(role, act, needed, short=short)
        obstacle = self.model.obstacle((row.pk, None), role, act, asker)
        self.about_task(row, question, asker, OBSTACLES.get(obstacle), crash=crash)

    def about_task(self, row: Task, question: Question, asker: str, why: type[Problem] | None, *, crash: bool) -> None:
        """A request about a task, which is refused where the task takes none, or for this reason."""
        task = self.known[row.pk]
        call = partial(transitions.request, row, question, actor=self.worker(asker))
        lapsed = task.lapsed
        over = task.status in TERMINAL or task.overdue
        if self.is_cut_off(asker):
            self.no(Unauthenticated, call)
        elif over or (lapsed and (task.called_off or row.attempt >= row.max_attempts)):
            self.no(IllegalTransition, call)
        elif why is not None:
            self.no(why, call)
        elif (approval := self.act(call, crash=crash)) is not None:
            self.acts += 1
            asked, held = self.learn(approval), task.status == "active" and not lapsed
            replaced = None if question.replaces is None else self.asked[question.replaces]
            assert asked.blocks is (not held if replaced is None else replaced.blocks)
            assert asked.required is (replaced is not None and replaced.required)
            self.replaced(replaced)
            task.status = "active" if held else "blocked" if asked.blocks or task.status == "blocked" else "pending"

    @staticmethod
    def replaced(one: Asked | None) -> None:
        if one is not None:
            one.status = "cancelled"

    @precondition(lambda self: len(self.model.sessions) < 3)
    @rule(asker=st.sampled_from(WORKERS), timed=SELDOM, crash=SELDOM)
    def open_session(self, asker: str, timed: bool, crash: bool) -> None:
        hours = SHORT if timed else LONG
        opening = partial(sessions.open_session, role="finance", task=None, metadata={})
        row = self.act(partial(opening, actor=self.worker(asker), lasting=timedelta(hours=hours)), crash=crash)
        if row is not None:
            self.model.sessions[row.pk] = Opened(asker, self.model.hours + hours)

    @precondition(lambda self: len(self.asked) < 18)
    @rule(
        data=st.data(),
        asker=st.sampled_from(ASKERS),
        role=ROLES,
        act=st.sampled_from([0, 0, 1]),
        needed=st.integers(1, 2),
        short=st.sampled_from(["", "open", "good"]),
        crash=SELDOM,
    )
    def ask_about_an_action(
        self, data: st.DataObject, asker: str, role: str, act: int, needed: int, short: str, crash: bool
    ) -> None:
        session = data.draw(st.sampled_from([None, *self.model.sessions]))
        question = self.question(role, act, needed, short=short)
        obstacle = self.model.obstacle((None, session), role, act, asker)
        self.about_action(session, question, asker, OBSTACLES.get(obstacle), crash=crash)

    def about_action(
        self, session: UUID | None, question: Question, asker: str, why: type[Problem] | None, *, crash: bool
    ) -> None:
        row = None if session is None else Session.objects.get(pk=session)
        call = partial(transitions.request_action, row, question, actor=self.worker(asker))
        if self.is_cut_off(asker):
            self.no(Unauthenticated, call)
        elif self.model.session_is_over(session):
            self.no(IllegalTransition, call)
        elif why is not None:
            self.no(why, call)
        elif (approval := self.act(call, crash=crash)) is not None:
            self.acts += 1
            self.learn(approval)
            self.replaced(None if question.replaces is None else self.asked[question.replaces])

    # What people decide and use.

    @precondition(lambda self: any(one.status == "pending" for one in self.asked.values()))
    @rule(data=st.data(), people=st.lists(st.sampled_from(DECIDERS), min_size=1, max_size=4), crash=SELDOM)
    def decide(self, data: st.DataObject, people: list[str], crash: bool) -> None:
        row, asked = self.request(data, "pending")
        for who in people:
            self.decides(row, asked, who, yes=data.draw(st.sampled_from([True] * 5 + [False])), crash=crash)

    decide_more = decide_most = decide
    """A rule with three names comes up three times as often."""

    def decides(self, row: Approval, asked: Asked, who: str, *, yes: bool, crash: bool) -> None:
        self.model.closes_what_is_over()
        actor = approver(who, role=asked.role, tenant=self.tenant)
        call = partial(transitions.approve if yes else transitions.reject, row, actor=actor)
        counted = self.model.counts_on(asked, who)
        task = None if asked.task is None else self.known[asked.task]
        refused = self.is_refused(
            call,
            asked,
            (self.is_cut_off(who), Unauthenticated, False),
            (self.model.barred(asked, who), SeparationOfDuties, True),
            (self.is_due_to_expire(asked), ApprovalExpired, True),
            (asked.status != "pending" or self.model.session_is_over(asked.session), IllegalTransition, True),
            (counted is asked or (yes and counted is not None), AlreadyDecided, True),
            (yes and task is not None and task.overdue, DeadlineExceeded, True),
        )
        if not refused and self.act(call, crash=crash) is not None:
            asked.was_decided = True
            if task is not None:
                task.deciders.add(who)
            self.counts(asked, who, yes=yes)

    def counts(self, asked: Asked, who: str, *, yes: bool) -> None:
        """One more has decided."""
        if not yes:
            asked.status = "rejected"
            self.model.ends_what_it_waited_for(asked)
            return
        asked.votes.append(who)
        if len(asked.votes) == asked.needed:
            asked.status, asked.good_until = "approved", self.model.hours + asked.good_for
            if asked.blocks and asked.task is not None:
                self.model.goes_on(asked.task)

    @precondition(lambda self: any(one.votes for one in self.asked.values()))
    @rule(data=st.data(), who=st.sampled_from(DECIDERS), crash=SELDOM)
    def take_back(self, data: st.DataObject, who: str, crash: bool) -> None:
        """A person withdraws their approval."""
        row, asked = self.request(data, "pending")
        call = partial(transitions.withdraw, row, actor=approver(who, role=asked.role, tenant=self.tenant))
        mine = [name for name in asked.votes if name in self.model.same(who)]
        refused = self.is_refused(
            call,
            asked,
            (self.is_cut_off(who), Unauthenticated, False),
            (self.is_due_to_expire(asked), ApprovalExpired, True),
            (asked.status != "pending", IllegalTransition, True),
            (not mine, NoDecision, True),
        )
        if not refused and self.act(call, crash=crash) is not None:
            asked.votes.remove(mine[0])

    @precondition(lambda self: len([one for one in self.asked.values() if one.status == "pending"]) > 3)
    @rule(data=st.data(), who=st.sampled_from(["olga", "fiona"]), crash=SELDOM)
    def withdraw(self, data: st.DataObject, who: str, crash: bool) -> None:
        """A request is called off."""
        row, asked = self.request(data, "pending")
        call = partial(transitions.cancel, row, actor=self.worker(who))
        if self.is_cut_off(who):
            self.no(Unauthenticated, call)
        elif asked.status == "pending" and self.model.is_late(asked):
            self.no(ApprovalExpired, call, asked)
        elif asked.status != "pending":
            self.no(IllegalTransition, call)
        elif self.act(call, crash=crash) is not None:
            asked.status = "cancelled"
            if asked.blocks and asked.task is not None:
                self.model.goes_on(asked.task)
                asked.closed = self.known[asked.task].status == "failed"

    @precondition(lambda self: any(one.status == "approved" and not one.used for one in self.asked.values()))
    @rule(data=st.data(), crash=SELDOM)
    def consume(self, data: st.DataObject, crash: bool) -> None:
        row, asked = self.request(data, "approved")
        fit = [self.model.first(asked).asker, *([self.known[asked.task].holder] if asked.task is not None else [])]
        who = data.draw(st.sampled_from(self.mostly(data, [name for name in fit if name], [*WORKERS, "olga"])))
        call = partial(transitions.consume, row, ACTIONS[asked.act or 0], actor=self.worker(who))
        task = None if asked.task is None else self.known[asked.task]
        beside = self.model.granted_beside(asked)
        together = [one for one in beside if self.model.were_together(one, asked)]
        refused = self.is_refused(
            call,
            asked,
            (self.is_cut_off(who), Unauthenticated, False),
            (not self.may_use(asked, task, who), Forbidden, True),
            (asked.status != "approved" or self.model.is_out_of_reach(asked), IllegalTransition, False),
            (task is not None and task.overdue, DeadlineExceeded, True),
            (asked.act is None, ActionMismatch, True),
            (asked.used, AlreadyConsumed, True),
            (any(map(self.model.has_lapsed, [asked, *together])), ApprovalLapsed, True),
        )
        if not refused and self.act(call, crash=crash) is not None:
            for one in [asked, *beside]:
                one.used = one.used or not self.model.has_lapsed(one)

    consume_more = consume_most = consume

    def may_use(self, asked: Asked, task: Known | None, who: str) -> bool:
        is_requester = who == self.model.first(asked).asker
        if task is None:
            return is_requester
        holds = task.status == "active" and task.holder == who and not task.lapsed
        return holds or (is_requester and who not in task.holders)

    # What happens.

    the_clock_goes_on = Tasks.the_clock_makes_a_step

    @precondition(lambda self: len(self.open_sessions()) > 1)
    @rule(data=st.data(), crash=SELDOM)
    def end_session(self, data: st.DataObject, crash: bool) -> None:
        pk = data.draw(st.sampled_from(self.open_sessions()))
        call = partial(sessions.amend, Session.objects.get(pk=pk), actor=self.worker("olga"), status="expired")
        if self.act(call, crash=crash) is not None:
            self.model.sessions[pk].ended = True

    def open_sessions(self) -> list[UUID]:
        return [pk for pk in self.model.sessions if not self.model.session_is_over(pk)]

    @precondition(lambda self: any(map(self.is_overdue, self.model.sessions.values())))
    @rule()
    def expire_sessions(self) -> None:
        assert sweep(EXPIRE_SESSIONS).poison == {}
        for one in self.model.sessions.values():
            one.ended = one.ended or self.is_overdue(one)

    def is_overdue(self, one: Opened) -> bool:
        return not one.ended and one.until <= self.model.hours

    @precondition(lambda self: any(map(self.is_due_to_expire, self.asked.values())))
    @rule()
    def expire(self) -> None:
        expire()
        for one in [one for one in self.asked.values() if self.is_due_to_expire(one)]:
            one.status = "expired"
        for one in self.asked.values():
            if one.status == "expired":
                self.model.ends_what_it_waited_for(one)

    def is_due_to_expire(self, one: Asked) -> bool:
        return one.status == "pending" and self.model.is_late(one)

    def also_passes(self, beside: psycopg.Connection[Any], step: timedelta) -> None:
        with unguarded() as moving:
            for table in ("approvals", "sessions"):
                moved = "expires_at = expires_at - %(step)s"
                moved += ", decision_at = decision_at - %(step)s" if table == "approvals" else ""
                moving.execute(f"UPDATE {table} SET {moved} WHERE tenant = %(of)s", {"step": step, "of": self.tenant})
        self.model.hours += round(step / timedelta(hours=1))

    # What holds.

    @invariant()
    def every_request_is_as_what_was_done_left_it(self) -> None:
        self.model.closes_what_is_over()
        rows = {row.pk: row for row in Approval.objects.filter(tenant=self.tenant)}
        assert rows.keys() == self.asked.keys()
        for pk, row in rows.items():
            asked = self.asked[pk]
            assert (row.status, row.consumed_at is not None) == (asked.status, asked.used)
            assert row.granted == len(asked.votes)
        assert_approvals_hold(self.tenant)

    def teardown(self) -> None:
        """Every refused decision and use, and nothing else, is remembered beside the chains."""
        super().teardown()
        remembered = refusals_of_all("approval", self.tenant)
        known = {**self.gone, **{pk: one.refusals for pk, one in self.asked.items()}}
        assert remembered == {pk: count for pk, count in known.items() if count}
