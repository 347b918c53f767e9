"""Tasks, sessions and actions about which people are asked: in any order of what is done, what must hold, holds."""

from functools import partial
from typing import Any
from uuid import UUID

import pytest
from hypothesis import seed
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from orchestrator.problems import InvalidRequest, Problem
from orchestrator.work_problems import (
    AlreadyRequested,
    IllegalTransition,
    Retained,
    StillReferenced,
)
from sessions_app.models import Task
from sessions_app.transitions import person
from sessions_app.transitions import task as tasks
from sessions_app.transitions.approvals import Question
from tests.concurrency.approval_machine import OBSTACLES, ROLES, Approvals
from tests.concurrency.approval_model import Asked
from tests.concurrency.approvals import identity, operator
from tests.concurrency.tasks import TERMINAL
from tests.concurrency.test_task_machine import SELDOM, run

pytestmark = pytest.mark.django_db(transaction=True)

PEOPLE = ("petra", "max", "pia", "frank", "finn")
"""Those who are cut off, restored and linked."""


class Agreement(Approvals):
    """The same requests, with operators who reopen, replace, cut off, restore, link and delete."""

    @precondition(lambda self: any(one.status == "rejected" for one in self.asked.values()) and len(self.asked) < 18)
    @rule(data=st.data(), needed=st.integers(1, 2), crash=SELDOM)
    def reopen(self, data: st.DataObject, needed: int, crash: bool) -> None:
        """An operator opens a rejection again."""
        row, one = self.request(data, "rejected")
        question = self.question(one.role, one.act, needed, reopens=row.pk, reason="New figures.")
        why: type[Problem] | None = None
        if one.status != "rejected" or needed < one.needed:
            why = InvalidRequest
        elif any(other.reopens == one.pk for other in self.asked.values()):
            why = AlreadyRequested
        else:
            requester = self.model.first(one).asker
            obstacle = self.model.obstacle(one.subject, one.role, one.act, requester, reopening=one.pk)
            why = OBSTACLES.get(obstacle)
        self.steered(one, question, why, crash=crash)

    @precondition(lambda self: any(one.status == "pending" for one in self.asked.values()) and len(self.asked) < 18)
    @rule(data=st.data(), role=ROLES, more=st.sampled_from([0, 0, 1, -1]), crash=SELDOM)
    def replace(self, data: st.DataObject, role: str, more: int, crash: bool) -> None:
        """An operator replaces a request that no known person can decide: here none ever logged in."""
        row, one = self.request(data, "pending")
        question = self.question(role, None, max(1, one.needed + more), replaces=row.pk, reason="They left.")
        if one.act is not None and one.task is None:
            question = self.question(role, one.act, question.required_approvals, replaces=row.pk, reason="They left.")
        why: type[Problem] | None = None
        if one.status != "pending" or self.model.is_late(one):
            why = IllegalTransition
        elif question.required_approvals < one.needed:
            why = InvalidRequest
        else:
            requester = self.model.first(one).asker
            why = OBSTACLES.get(self.model.obstacle(one.subject, role, one.act, requester, beside=one.pk))
        self.steered(one, question, why, crash=crash)

    def steered(self, one: Asked, question: Question, why: type[Problem] | None, *, crash: bool) -> None:
        if one.task is not None:
            self.about_task(Task.objects.get(pk=one.task), question, "olga", why, crash=crash)
        else:
            self.about_action(one.session, question, "olga", why, crash=crash)

    @precondition(lambda self: len(self.model.cut) < 2)
    @rule(who=st.sampled_from(PEOPLE), crash=SELDOM)
    def cut_off(self, who: str, crash: bool) -> None:
        by = operator(tenant=self.tenant)
        call = partial(person.cut_off, identity(who), actor=by, reason="stolen")
        if self.act(call, crash=crash) is not None:
            people = self.model.same(who)
            if not people <= self.model.cut:
                self.model.cut |= people
                self.model.undo(people)

    @precondition(lambda self: self.model.cut)
    @rule(data=st.data(), crash=SELDOM)
    def restore(self, data: st.DataObject, crash: bool) -> None:
        who = data.draw(st.sampled_from(sorted(self.model.cut)))
        by = operator(tenant=self.tenant)
        if self.act(partial(person.restore, identity(who), actor=by, reason="found"), crash=crash) is not None:
            self.model.cut.discard(who)

    @precondition(lambda self: len(self.model.main) < 2)
    @rule(who=st.sampled_from(PEOPLE), same_as=st.sampled_from(PEOPLE), crash=SELDOM)
    def link(self, who: str, same_as: str, crash: bool) -> None:
        known: Any = {"tenant": self.tenant, "actor": operator(tenant=self.tenant), "reason": "one person"}
        call = partial(person.link, identity(who), identity(same_as), **known)
        main = self.model.main.get(same_as, same_as)
        if not self.model.may_be_linked(who, same_as):
            self.no(InvalidRequest, call)
        elif self.act(call, crash=crash) is not None and self.model.main.get(who) != main:
            self.model.main[who] = main
            self.model.merge(self.model.same(who))

    @precondition(lambda self: self.model.main)
    @rule(data=st.data(), crash=SELDOM)
    def unlink(self, data: st.DataObject, crash: bool) -> None:
        who = data.draw(st.sampled_from(sorted(self.model.main)))
        known: Any = {"tenant": self.tenant, "actor": operator(tenant=self.tenant), "reason": "two people"}
        if self.act(partial(person.unlink, identity(who), **known), crash=crash) is not None:
            del self.model.main[who]

    @precondition(lambda self: self.any(*TERMINAL) and len(self.known) > 1)
    @rule(data=st.data(), crash=SELDOM)
    def delete(self, data: st.DataObject, crash: bool) -> None:
        row = self.some(data, data.draw(st.sampled_from(sorted(TERMINAL))))
        task = self.known[row.pk]
        about = [one for one in self.asked.values() if one.task == row.pk]

        def deleted() -> bool:
            return tasks.delete(row, reason="obsolete", actor=self.worker("olga")) is None

        if task.status not in TERMINAL:
            self.no(IllegalTransition, deleted)
        elif task.retried:
            self.no(StillReferenced, deleted)
        elif any(one.was_decided for one in about):
            self.no(Retained, deleted)
        elif self.act(deleted, crash=crash):
            self.forget_task(row.pk)

    def forget_task(self, pk: UUID) -> None:
        task = self.deleted[pk] = self.known.pop(pk)
        if task.retry_of is not None:
            self.known[task.retry_of].retried = False
        self.leases = [held for held in self.leases if held.task != pk]
        for one in [one for one in self.asked.values() if one.task == pk]:
            self.gone[one.pk] = one.refusals
            del self.asked[one.pk]


def test_tasks_and_approvals_stay_whole_in_any_order_of_what_is_done() -> None:
    run(Agreement, examples=3, steps=30, at_least=25)


@pytest.mark.long
@pytest.mark.parametrize("number", range(100))
def test_tasks_and_approvals_stay_whole_for_a_hundred_seeds(number: int) -> None:
    class Seeded(Agreement):
        """A machine of its own, for its seed."""

    run(seed(number)(Seeded), examples=2, steps=50, at_least=40)
