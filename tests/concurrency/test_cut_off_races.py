"""A person who is cut off while they act: in either order, nothing of theirs counts or stays open afterwards."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from orchestrator import boundary
from orchestrator.people.models import Person
from sessions_app import queue
from sessions_app.models import Approval, Task
from sessions_app.transitions import approvals as transitions
from sessions_app.transitions import lease, person
from sessions_app.transitions.approvals import decisions
from tests.concurrency.approvals import (
    asked,
    asks,
    assert_approvals_hold,
    assert_one_live_grant_per_act,
    by_person,
    cuts_off,
    identity,
    links,
    operator,
    outcome,
    outcomes,
    uses,
)
from tests.concurrency.racing import no_events, results, wait_for_waiters
from tests.concurrency.tasks import assert_tasks_hold, many_routed
from tests.concurrency.test_task_crowd import deadlocks
from tests.concurrency.told import words
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import ACTION, agree, now
from tests.sessions_app.session_calls import session_in, somebody
from tests.work import events, in_a_thread

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 3
MINUTE = timedelta(minutes=1)

approve, withdraw = transitions.approve, decisions.withdraw


@pytest.fixture(autouse=True)
def everything_holds() -> Iterator[None]:
    """No deadlock arises in a race, and rows and events agree after it."""
    before = deadlocks()
    yield
    assert deadlocks() == before
    assert_approvals_hold()
    assert_tasks_hold()
    assert_one_live_grant_per_act()


def claims(name: str) -> Callable[[], object]:
    """An agent claims all tasks that it can."""
    actor = somebody(name)
    return lambda: lease.claim(queue.claimable(actor, ["finance"], None, 10), actor=actor, lasting=MINUTE)


def held_by(name: str) -> int:
    return Task.objects.filter(status="active", lease_subject=name).count()


def cut_off_events() -> Counter[str]:
    """How often each person was cut off."""
    bodies = [event["metadata"] for event in events("event_type = 'person.cut_off'")]
    return Counter(str(body).partition('"subject": "')[2].partition('"')[0] for body in bodies)


# A decider.


@pytest.mark.parametrize("needed", [1, 2])
def test_an_approval_against_the_cut_off_of_its_decider_settles_before_it_or_does_not_count(needed: int) -> None:
    for n in range(2 * ROUNDS):
        approval = asked(None, required_approvals=needed, action={**ACTION, "n": n})
        approved, cut = outcomes(by_person(approve, approval, f"petra-{n}"), cuts_off(f"petra-{n}"))
        assert (cut, approved in ("done", "unauthenticated")) == ("done", True)
        ways = {1: ["approved"], 2: ["voted", "decision_set_aside"]}
        assert words(approval) == ["created", *(ways[needed] if approved == "done" else [])]
        assert now(approval).granted == (needed == 1 and approved == "done")


@pytest.mark.parametrize("needed", [1, 2])
def test_a_cut_off_waits_for_the_approval_that_its_person_is_making(needed: int) -> None:
    approval = asked(task_states.active(), required_approvals=needed)
    with no_events():
        approving = in_a_thread(partial(outcome, by_person(approve, approval, "petra")))
        wait_for_waiters(1)
        cutting = in_a_thread(partial(outcome, cuts_off("petra")))
        wait_for_waiters(2)
    assert results([approving, cutting]) == ["done", "done"]
    assert words(approval) == ["created", *(["approved"] if needed == 1 else ["voted", "decision_set_aside"])]


@pytest.mark.parametrize("verb", [approve, transitions.reject, withdraw])
def test_a_decision_waits_for_the_cut_off_of_its_person_and_is_refused(verb: Callable[..., Approval]) -> None:
    approval = asked(task_states.active(), required_approvals=2)
    boundary.write(by_person(approve, approval, "petra"))
    with no_events():
        cutting = in_a_thread(partial(outcome, cuts_off("petra")))
        wait_for_waiters(1)
        deciding = in_a_thread(partial(outcome, by_person(verb, approval, "petra")))
        wait_for_waiters(2)
    assert results([cutting, deciding]) == ["done", "unauthenticated"]
    assert words(approval) == ["created", "voted", "decision_set_aside"]


def test_the_last_approval_against_the_cut_off_of_the_first_approver() -> None:
    for n in range(2 * ROUNDS):
        approval = asked(None, required_approvals=2, action={**ACTION, "n": n})
        boundary.write(by_person(approve, approval, f"petra-{n}"))
        assert outcomes(by_person(approve, approval, "max"), cuts_off(f"petra-{n}")) == ["done", "done"]
        row = now(approval)
        assert (row.status, row.granted) in {("approved", 2), ("pending", 1)}
        assert ("decision_set_aside" in words(approval)) == (row.status == "pending")


# An agent.


def test_a_claim_against_the_cut_off_of_its_agent_is_released_or_refused() -> None:
    many_routed(4)
    for n in range(2 * ROUNDS):
        claimed, cut = outcomes(claims(f"finn-{n}"), cuts_off(f"finn-{n}"))
        assert (cut, claimed in ("done", "unauthenticated")) == ("done", True)
        assert held_by(f"finn-{n}") == 0
    assert not Task.objects.exclude(status="pending").exists()


@pytest.mark.parametrize("about", [task_states.active, lambda: session_in("active"), lambda: None])
def test_a_request_against_the_cut_off_of_its_agent_is_cancelled_or_refused(about: Callable[[], Any]) -> None:
    for n in range(ROUNDS):
        made, cut = outcomes(asks(about(), f"bot-{n}"), cuts_off(f"bot-{n}"))
        assert (cut, made in ("done", "unauthenticated")) == ("done", True)
        rows = Approval.objects.filter(created_by_subject=f"bot-{n}")
        assert [words(row) for row in rows] == [["created", "cancelled"]] * (made == "done")


def test_a_use_against_the_cut_off_of_its_agent_comes_before_it_or_is_refused() -> None:
    for n in range(2 * ROUNDS):
        approval = agree(asked(None, f"bot-{n}"))
        used, cut = outcomes(uses(approval, f"bot-{n}"), cuts_off(f"bot-{n}"))
        assert (cut, used in ("done", "unauthenticated")) == ("done", True)
        assert words(approval) == ["created", "approved", *["consumed"] * (used == "done")]


# Operators.


def test_two_cut_offs_of_linked_identities_at_once_are_one() -> None:
    for n in range(ROUNDS):
        petra, pia = f"petra-{n}", f"pia-{n}"
        boundary.write(links(pia, petra))
        approval = asked(None, required_approvals=2, action={**ACTION, "n": n})
        own = asked(session_in("active"), pia)
        boundary.write(by_person(approve, approval, petra))
        task_states.held(task_states.pending(), by=somebody(pia))
        assert outcomes(cuts_off(petra), cuts_off(pia, by="oskar")) == ["done", "done"]
        assert not Person.objects.filter(subject__in=[petra, pia], is_active=True).exists()
        assert (cut_off_events()[petra], cut_off_events()[pia]) == (1, 1)
        assert words(approval) == ["created", "voted", "decision_set_aside"]
        assert (words(own), held_by(pia)) == (["created", "cancelled"], 0)


def test_two_operators_who_cut_each_other_off_do_not_wait_in_a_circle() -> None:
    came = outcomes(cuts_off("oskar", by="olga"), cuts_off("olga", by="oskar"))
    assert came == ["done", "done"]


def test_a_cut_off_against_the_link_of_its_person_locks_in_the_same_order() -> None:
    for n in range(2 * ROUNDS):
        first, second = session_in("active"), session_in("active")
        open_ones = [asked(session, required_approvals=4, action={**ACTION, "n": n}) for session in (second, first)]
        for approval in open_ones:
            for name in (f"petra-{n}", f"pia-{n}", f"max-{n}"):
                boundary.write(by_person(approve, approval, name))
        assert outcomes(links(f"pia-{n}", f"petra-{n}"), cuts_off(f"max-{n}")) == ["done", "done"]
        for approval in open_ones:
            assert Counter(words(approval))["decision_set_aside"] == 2
            assert now(approval).granted == 1


def test_cut_offs_against_the_link_of_their_people_leave_both_cut_off() -> None:
    for n in range(2 * ROUNDS):
        petra, pia = f"petra-{n}", f"pia-{n}"
        cut, linked, other_cut = outcomes(cuts_off(petra), links(pia, petra), cuts_off(pia, by="oskar"))
        # An identity that is cut off is not linked with one that is not.
        assert (cut, other_cut, linked in ("done", "invalid-request")) == ("done", "done", True)
        assert not Person.objects.filter(subject__in=[petra, pia], is_active=True).exists()
        assert (cut_off_events()[petra], cut_off_events()[pia]) == (1, 1)


def test_a_cut_off_against_a_restoration_leaves_one_of_both() -> None:
    for n in range(ROUNDS):
        boundary.write(cuts_off(f"petra-{n}"))
        who = identity(f"petra-{n}")
        restores = partial(person.restore, who, actor=operator(), reason="found again")
        assert outcomes(restores, cuts_off(f"petra-{n}", by="oskar")) == ["done", "done"]


def test_a_cut_off_under_the_load_of_heartbeats_and_decisions_undoes_everything() -> None:
    tasks = many_routed(8)
    rows = Task.objects.filter(pk__in=[task.pk for task in tasks])
    grants = boundary.write(partial(lease.claim, rows, actor=somebody("finn"), lasting=MINUTE))
    own = [asked(grant.task, "finn", required_approvals=2) for grant in grants]
    beside = [asked(grant.task, "bot", action={**ACTION, "n": 1}, required_approvals=2) for grant in grants]

    def beats() -> Counter[str]:
        came = Counter[str]()
        for grant in grants * 3:
            beat = partial(lease.heartbeat, grant.task, token=grant.token, progress=None, actor=somebody("finn"))
            came[outcome(beat)] += 1
        return came

    def decides(name: str) -> Counter[str]:
        return Counter(outcome(by_person(approve, approval, name)) for approval in [*own, *beside])

    def cuts() -> Counter[str]:
        return Counter([outcome(cuts_off("finn"))])

    running = [in_a_thread(work) for work in (beats, partial(decides, "petra"), partial(decides, "max"), beats, cuts)]
    beat, petra, max_, beaten, cut = results(running)
    assert cut == {"done": 1}
    assert (beat | beaten).keys() <= {"done", "lease-lost"}
    assert (petra | max_).keys() <= {"done", "illegal-transition"}
    assert held_by("finn") == 0
    assert {now(approval).status for approval in own} <= {"approved", "cancelled"}
    assert {now(approval).status for approval in beside} == {"approved"}
