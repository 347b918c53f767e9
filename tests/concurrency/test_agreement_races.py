"""Requests, decisions and uses that meet: one person counts once, a no stands, and one act has one grant."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from orchestrator import boundary
from sessions_app.duties import EXPIRE_APPROVALS, EXPIRE_SESSIONS
from sessions_app.models import Approval, Session, Task
from sessions_app.models.approval import MAX_OPEN
from sessions_app.sweeping import sweep
from sessions_app.transitions import approvals as transitions
from sessions_app.transitions import session as sessions
from sessions_app.transitions.approvals import decisions
from tests.api import Api
from tests.concurrency.approvals import (
    asked,
    asks,
    assert_approvals_hold,
    assert_one_live_grant_per_act,
    by_person,
    expire,
    lapse_grant,
    links,
    operator,
    outcome,
    outcomes,
    uses,
)
from tests.concurrency.racing import at_once, bearer, no_events, results, wait_for_waiters
from tests.concurrency.tasks import assert_tasks_hold, path
from tests.concurrency.told import words
from tests.database import superuser_connection
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import ACTION, agree, ask_at_creation, now, question
from tests.sessions_app.session_calls import session_in, somebody
from tests.work import events, in_a_thread

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 2
SOON = timedelta(seconds=0.7)
"""Long enough to come in time on a busy machine, and shorter than any caller waits for a lock."""
CONSUMERS = 64

approve, reject, withdraw = transitions.approve, transitions.reject, decisions.withdraw

SUBJECTS: dict[str, Callable[[], Task | Session | None]] = {
    "task": task_states.active,
    "session": lambda: session_in("active"),
    "alone": lambda: None,
}
Subject = Callable[[], Task | Session | None]
each_subject = pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)
no_task = pytest.mark.parametrize("subject", [SUBJECTS["session"], SUBJECTS["alone"]], ids=["session", "alone"])


@pytest.fixture(autouse=True)
def everything_holds() -> Iterator[None]:
    """Rows and events agree after each race."""
    yield
    assert_approvals_hold()
    assert_tasks_hold()
    assert_one_live_grant_per_act()


def past(moment: Any) -> None:
    """Wait until a moment has passed, by the clock that the database here shares."""
    while (left := moment.timestamp() - time.time()) >= 0:
        time.sleep(left + 0.01)


# One person counts once.


@pytest.mark.parametrize("other", ["petra", "pia"])
def test_of_two_last_approvals_by_one_person_for_one_task_one_counts(other: str) -> None:
    boundary.write(links("pia", "petra"))
    for _ in range(ROUNDS):
        task, (first, second) = ask_at_creation(question("manager"), question("board"))
        came = outcomes(by_person(approve, first, "petra"), by_person(approve, second, other))
        assert Counter(came) == {"done": 1, "already-decided": 1}
        assert Counter([now(first).status, now(second).status]) == {"approved": 1, "pending": 1}
        assert words(task) == ["created"]
        assert Task.objects.get(pk=task.pk).status == "blocked"


def test_of_two_approvals_by_linked_identities_of_one_request_one_counts() -> None:
    boundary.write(links("pia", "petra"))
    for _ in range(ROUNDS):
        approval = asked(None, required_approvals=2, action={**ACTION, "n": time.time_ns() % 1_000_000})
        came = outcomes(by_person(approve, approval, "petra"), by_person(approve, approval, "pia"))
        assert Counter(came) == {"done": 1, "already-decided": 1}
        assert words(approval) == ["created", "voted"]


def test_linking_two_identities_while_the_second_one_approves_leaves_one_that_counts() -> None:
    for n in range(2 * ROUNDS):
        petra, pia = f"petra-{n}", f"pia-{n}"
        approval = asked(None, required_approvals=2, action={**ACTION, "n": n})
        boundary.write(by_person(approve, approval, petra))
        linked, approved = outcomes(links(pia, petra), by_person(approve, approval, pia))
        assert linked == "done"
        if approved == "done":
            # It was the last approval needed, before the two were known to be one person.
            assert (now(approval).status, now(approval).granted) == ("approved", 2)
        else:
            assert (approved, now(approval).granted) == ("already-decided", 1)


def test_linking_two_identities_while_the_second_one_approves_another_request_of_the_task() -> None:
    for n in range(2 * ROUNDS):
        petra, pia = f"petra-{n}", f"pia-{n}"
        _, (first, second) = ask_at_creation(question("manager"), question("board", required_approvals=2))
        boundary.write(by_person(approve, first, petra))
        linked, approved = outcomes(links(pia, petra), by_person(approve, second, pia))
        assert (linked, now(second).granted) == ("done", 0)
        assert words(second) == ["created", *["voted", "decision_set_aside"] * (approved == "done")]


# A no stands, and one question is asked once.


@each_subject
def test_a_question_that_is_asked_again_while_it_is_rejected_is_not_made(subject: Subject) -> None:
    for n in range(ROUNDS):
        about, name = subject(), f"alice-{n}"
        approval = asked(about, name)
        rejected, again = outcomes(by_person(reject, approval, "rita"), asks(about, name))
        assert rejected == "done"
        assert again in ("already-requested", "already-rejected")
        assert outcome(asks(about, name)) == "already-rejected"
        assert words(approval) == ["created", "rejected"]
        assert not Approval.objects.filter(created_by_subject=name).exclude(pk=approval.pk).exists()


@each_subject
def test_of_two_who_ask_the_same_at_once_one_is_heard(subject: Subject) -> None:
    for n in range(ROUNDS):
        about = subject()
        names = (f"a-{n}", f"b-{n}") if about is not None else (f"a-{n}", f"a-{n}")
        came = outcomes(*(asks(about, name) for name in names))
        assert Counter(came) == {"done": 1, "already-requested": 1}
        assert Approval.objects.filter(created_by_subject__in=names).count() == 1


def test_of_sixteen_threads_of_one_requester_one_asks() -> None:
    came = outcomes(*[asks(None)] * 16)
    assert Counter(came) == {"done": 1, "already-requested": 15}
    assert words(Approval.objects.get()) == ["created"]


def test_as_many_are_open_at_once_as_may_be() -> None:
    session = session_in("active")
    for n in range(MAX_OPEN - 1):
        asked(session, action={**ACTION, "n": n})
    came = outcomes(*(asks(session, action={**ACTION, "n": MAX_OPEN + n}) for n in range(6)))
    assert Counter(came) == {"done": 1, "too-many-open-approvals": 5}


@pytest.mark.parametrize(("verb", "refusal"), [(approve, "already-requested"), (reject, "already-rejected")])
@each_subject
def test_a_decision_in_time_that_is_committed_late_keeps_the_question_from_being_asked_again(
    subject: Subject, verb: Callable[..., Approval], refusal: str
) -> None:
    about = subject()
    approval = asked(about, lasting=SOON)
    with no_events():
        deciding = in_a_thread(partial(outcome, by_person(verb, approval, "petra")))
        wait_for_waiters(1)
        past(approval.expires_at)
        asking = in_a_thread(partial(outcome, asks(about)))
        wait_for_waiters(2)
    assert results([deciding, asking]) == ["done", refusal]


@each_subject
def test_of_two_operators_who_reopen_a_rejection_at_once_one_does(subject: Subject) -> None:
    for n in range(ROUNDS):
        about, name = subject(), f"alice-{n}"
        rejected = asked(about, name)
        boundary.write(by_person(reject, rejected, "rita"))
        again: Any = {"reopens": rejected.pk, "reason": "New figures."}
        came = outcomes(*(asks(about, actor=operator(who), **again) for who in ("olga", "oskar")))
        assert Counter(came) == {"done": 1, "already-requested": 1}


@each_subject
def test_a_replacement_against_the_last_approval_of_what_it_replaces(subject: Subject) -> None:
    for n in range(ROUNDS):
        about, name = subject(), f"alice-{n}"
        former = asked(about, name)
        replacing = asks(about, role="board", actor=operator(), replaces=former.pk, reason="They left.")
        replaced, approved = outcomes(replacing, by_person(approve, former, "petra"))
        assert Counter([replaced, approved]) == {"done": 1, "illegal-transition": 1}
        assert now(former).status == ("cancelled" if replaced == "done" else "approved")


@each_subject
def test_of_two_operators_who_replace_a_request_at_once_one_does(subject: Subject) -> None:
    for n in range(ROUNDS):
        about, name = subject(), f"alice-{n}"
        former = asked(about, name)
        again: Any = {"replaces": former.pk, "reason": "They left."}
        came = outcomes(*(asks(about, actor=operator(who), role="board", **again) for who in ("olga", "oskar")))
        assert Counter(came) == {"done": 1, "illegal-transition": 1}


# A decision that is withdrawn.


def test_a_decision_withdrawn_against_the_last_approval() -> None:
    for n in range(2 * ROUNDS):
        approval = asked(None, required_approvals=2, action={**ACTION, "n": n})
        boundary.write(by_person(approve, approval, "petra"))
        withdrawn, approved = outcomes(by_person(withdraw, approval, "petra"), by_person(approve, approval, "max"))
        assert (withdrawn, approved) in {("done", "done"), ("illegal-transition", "done")}
        ways = {"done": ["voted", "decision_withdrawn", "voted"], "illegal-transition": ["voted", "approved"]}
        assert words(approval) == ["created", *ways[withdrawn]]


def test_a_decision_withdrawn_while_its_request_expires() -> None:
    for n in range(2 * ROUNDS):
        lasting = timedelta(seconds=0.15 + 0.01 * (n % 3))
        approval = asked(None, required_approvals=2, lasting=lasting, action={**ACTION, "n": n})
        boundary.write(by_person(approve, approval, "petra"))
        past(approval.expires_at - timedelta(milliseconds=6))
        withdrawn, _ = at_once(partial(outcome, by_person(withdraw, approval, "petra")), expire)
        assert withdrawn in ("done", "approval-expired", "illegal-transition")
        past(approval.expires_at)
        expire()
        assert words(approval) == ["created", "voted", *["decision_withdrawn"] * (withdrawn == "done"), "expired"]


# A grant is used once, and in time.


@no_task
def test_of_many_who_use_a_grant_at_once_one_does(subject: Subject) -> None:
    approval = agree(asked(subject()))
    came = outcomes(*[uses(approval)] * CONSUMERS)
    assert Counter(came) == {"done": 1, "already-consumed": CONSUMERS - 1}
    assert words(approval) == ["created", "approved", "consumed"]


@each_subject
def test_a_use_around_the_moment_at_which_the_grant_lapses_comes_in_time_or_is_refused(subject: Subject) -> None:
    for n in range(ROUNDS):
        about, name = subject(), f"alice-{n}"
        approval = lapse_grant(agree(asked(about, name)), after=timedelta(milliseconds=150))
        assert approval.approved_until is not None
        past(approval.approved_until - timedelta(milliseconds=8))
        came = outcomes(*[uses(approval, name)] * 6)
        used = now(approval).consumed_at
        assert Counter(came)["done"] == (used is not None)
        assert set(came) <= {"done", "already-consumed", "approval-lapsed"}
        assert used is None or used < approval.approved_until


def test_a_use_that_waits_until_the_grant_has_lapsed_is_refused() -> None:
    approval = lapse_grant(agree(asked(task_states.active())), after=SOON)
    with superuser_connection() as holder, holder.transaction():
        holder.execute("SELECT 1 FROM tasks WHERE id = %s FOR UPDATE", [approval.task_id])
        using = in_a_thread(partial(outcome, uses(approval)))
        wait_for_waiters(1)
        past(approval.approved_until)
    assert results([using]) == ["approval-lapsed"]


def test_a_use_in_time_that_is_written_while_the_grant_lapses_counts() -> None:
    approval = lapse_grant(agree(asked(None)), after=SOON)
    with no_events():
        using = in_a_thread(partial(outcome, uses(approval)))
        wait_for_waiters(1)
        past(approval.approved_until)
    assert results([using]) == ["done"]
    assert words(approval) == ["created", "approved", "consumed"]


def test_two_grants_for_one_act_that_are_used_at_once_are_one_use() -> None:
    for _ in range(ROUNDS):
        both = [question(role, action=ACTION) for role in ("manager", "board")]
        task, (manager, board) = ask_at_creation(*both, by=somebody())
        agree(manager)
        agree(board, "max")
        task_states.held(task)
        came = outcomes(uses(manager, "finn"), uses(board, "finn"), uses(board, "alice"))
        assert Counter(came) == {"done": 1, "already-consumed": 2}
        assert now(manager).consumed_at == now(board).consumed_at is not None


# A session that ends.


def ends(session: Session) -> Callable[[], Session]:
    return lambda: sessions.amend(session, actor=somebody(), status="completed")


def test_a_request_against_the_end_of_its_session_is_cancelled_or_never_made() -> None:
    for _ in range(ROUNDS):
        session = session_in("active")
        made, ended = outcomes(asks(session), ends(session))
        assert (ended, made in ("done", "illegal-transition")) == ("done", True)
        rows = list(Approval.objects.filter(session=session))
        assert [words(row) for row in rows] == [["created", "cancelled"]] * (made == "done")


def test_a_decision_against_the_end_of_its_session_is_made_or_refused() -> None:
    for _ in range(ROUNDS):
        session = session_in("active")
        approval = asked(session)
        approved, ended = outcomes(by_person(approve, approval, "petra"), ends(session))
        assert (ended, approved in ("done", "illegal-transition")) == ("done", True)
        assert words(approval) == ["created", "approved" if approved == "done" else "cancelled"]


def test_a_use_against_the_end_of_its_session_comes_before_it_or_is_refused() -> None:
    for _ in range(ROUNDS):
        session = session_in("active")
        approval = agree(asked(session))
        used, ended = outcomes(uses(approval), ends(session))
        assert (ended, used in ("done", "illegal-transition")) == ("done", True)
        assert words(approval) == ["created", "approved", *["consumed"] * (used == "done")]


def test_sweeps_of_sessions_and_approvals_at_once_leave_nothing_open() -> None:
    for _ in range(ROUNDS):
        open_ones = []
        for _ in range(4):
            session = session_in("pending")
            open_ones += [asked(session, lasting=timedelta(seconds=0.1))]
            boundary.write(partial(sessions.amend, session, actor=somebody(), lasting=timedelta(seconds=0.1)))
        time.sleep(0.12)
        for swept in at_once(*(partial(sweep, duty) for duty in (EXPIRE_SESSIONS, EXPIRE_APPROVALS) * 2)):
            assert swept.poison == {}
        assert set(Session.objects.filter(approvals__in=open_ones).values_list("status", flat=True)) == {"expired"}
        assert {now(one).status for one in open_ones} <= {"expired", "cancelled"}


# Deleting with a second person.


@pytest.fixture
def second_person(settings: Any) -> None:
    settings.DELETE_NEEDS_SECOND_PERSON = True


def deletes(task: Task, name: str) -> Callable[[], Any]:
    api = Api(bearer(name, "operator", ""))
    return lambda: api.send("DELETE", f"{path(task)}?reason=obsolete")


@pytest.mark.usefixtures("second_person")
@pytest.mark.parametrize("names", [("olga", "oskar"), ("olga", "olga")])
def test_of_two_deletions_at_once_that_a_second_person_agreed_to_one_deletes(names: tuple[str, str]) -> None:
    for _ in range(ROUNDS):
        task = task_states.cancelled()
        assert {answer.status_code for answer in at_once(*(deletes(task, name) for name in names))} == {202}
        made = list(Approval.objects.filter(task=None, status="pending"))
        assert len(made) == len(set(names))
        for approval in made:
            agree(approval)
        answers = at_once(*(deletes(task, name) for name in names))
        assert sorted(answer.status_code for answer in answers) == [204, 404]
        assert len(events("event_type = 'task.deleted' AND subject_id = %s", task.pk)) == 1
        assert sum(now(approval).consumed_at is not None for approval in made) == 1


@pytest.mark.usefixtures("second_person")
def test_a_deletion_against_the_agreement_to_it_deletes_or_waits() -> None:
    for _ in range(ROUNDS):
        task = task_states.cancelled()
        deletes(task, "olga")()
        approval = Approval.objects.get(task=None, status="pending")
        answer, agreed = at_once(deletes(task, "olga"), partial(outcome, by_person(approve, approval, "petra")))
        assert (agreed, answer.status_code in (202, 204)) == ("done", True)
        assert (now(approval).consumed_at is not None) == (answer.status_code == 204)
