"""Withdrawing an approval, cancelling, reopening and replacing a request in the admin."""

import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from orchestrator import boundary
from orchestrator.actors import Role
from orchestrator.people.models import Person
from sessions_app.models import Approval, Decision, Task
from sessions_app.transitions import approvals as transitions
from sessions_app.transitions import session as sessions
from tests.admin import APPROVALS, Browser, buttons, ids, person, text
from tests.refusal_counts import a_minute_later
from tests.sessions_app.approval_calls import ask_at_creation, question
from tests.sessions_app.approval_states import (
    ACTION,
    APPROVALS_IN,
    DAY,
    agreed,
    approver,
    rejected,
    requested,
    requested_action,
)
from tests.sessions_app.session_calls import (
    events_of,
    last_event,
    only_refused,
    session_in,
    somebody,
    stored,
    unchanged,
)
from tests.sessions_app.task_states import active, pending
from tests.work import assert_chain_holds

pytestmark = pytest.mark.django_db(transaction=True)

OTHER = {"pay": "Meier Presses", "amount": 1}
REASON = {"reason": "The board asked again."}


def petra(*roles: str, name: str = "petra") -> Browser:
    """An approver for the role manager, unless told otherwise."""
    return Browser(person(name, roles=roles or ("approver",), agent_roles=("manager",)))


def operator() -> Browser:
    return Browser(person("olga"))


def page(approval: Approval, browser: Browser) -> Any:
    return browser.get(f"{APPROVALS}{approval.pk}/change/")


def form_of(approval: Approval, name: str = "replace") -> str:
    return f"{APPROVALS}{approval.pk}/move/{name}/"


def form(approval: Approval, name: str, browser: Browser) -> str:
    answer = browser.get(form_of(approval, name))
    assert answer.status_code == 200
    return text(answer)


def move(browser: Browser, approval: Approval, name: str, fields: Any = None) -> Any:
    return browser.move(f"{APPROVALS}{approval.pk}/", name, REASON if fields is None else fields)


def new_request(**columns: Any) -> Approval:
    return Approval.objects.get(**columns)


# Withdrawing.


def test_withdraws_a_persons_own_approval_while_the_request_is_open() -> None:
    approval, browser = requested(required_approvals=2), petra()
    move(browser, approval, "approve", {})
    assert ids(browser.get(f"{APPROVALS}?assignee=me")) == []
    assert buttons(page(approval, browser)) == ["withdraw"]
    shown = move(browser, approval, "withdraw", {"comments": "I misread it."})
    assert "You withdrew your approval: 0 of 2 so far." in text(shown)
    assert buttons(shown) == ["approve", "reject"]
    event = last_event(approval.pk)
    assert (event.event_type, event.reason, event.via) == ("approval.decision_withdrawn", "I misread it.", "admin")
    assert stored(approval.pk, Approval)["granted"] == 0
    assert_chain_holds(approval)


def test_a_withdrawal_needs_no_comment_and_says_what_it_does() -> None:
    approval, browser = agreed(requested(required_approvals=2), by=approver("petra")), petra()
    told = "Your approval stays visible, but does not count. You can decide again while the request is open."
    shown = form(approval, "withdraw", browser)
    assert told in shown
    assert "Withdraw my approval" in shown
    assert "0 of 2 so far" in text(move(browser, approval, "withdraw", {}))


def test_the_approval_of_a_linked_identity_is_withdrawn_too() -> None:
    approval = agreed(requested(required_approvals=2), by=approver("petra-2"))
    alias, browser = person("petra-2", roles=("approver",), agent_roles=("manager",)), petra()
    assert buttons(page(approval, browser)) == ["approve", "reject"]
    Person.objects.filter(pk=alias.pk).update(alias_of=Person.objects.get(subject="petra"))
    assert buttons(page(approval, browser)) == ["withdraw"]
    assert "0 of 2 so far" in text(move(browser, approval, "withdraw", {}))


@pytest.mark.parametrize("state", APPROVALS_IN)
def test_a_withdrawal_is_offered_to_those_alone_who_approved(state: str) -> None:
    approval = APPROVALS_IN[state]()
    assert "withdraw" not in buttons(page(approval, petra()))
    # max approved where one person has.
    assert ("withdraw" in buttons(page(approval, petra(name="max")))) is (state == "voted")


def test_a_withdrawal_that_would_be_refused_says_so() -> None:
    open_one, settled, browser = requested(required_approvals=2), agreed(by=approver("petra")), petra()
    with only_refused_as("no-decision", open_one):
        assert "No decision to withdraw" in text(move(browser, open_one, "withdraw", {}))
    with only_refused_as("illegal-transition", settled):
        assert "It is approved" in text(move(browser, settled, "withdraw", {}))
    stranger = Browser(person("lea", roles=("approver", "auditor"), agent_roles=("legal",)))
    with only_refused(open_one.pk, "withdraw", model=Approval):
        assert move(stranger, open_one, "withdraw", {}).status_code == 403


class only_refused_as:  # noqa: N801  it reads as a function
    """Fails if the block leaves other than one refusal of this slug."""

    def __init__(self, slug: str, approval: Approval) -> None:
        self.slug, self.approval = slug, approval

    def __enter__(self) -> None:
        a_minute_later()
        self.row, self.known = stored(self.approval.pk, Approval), len(events_of(self.approval.pk))

    def __exit__(self, *_: object) -> None:
        assert stored(self.approval.pk, Approval) == self.row
        added = events_of(self.approval.pk)[self.known :]
        assert [(event.event_type, event.reason) for event in added] == [("approval.refused", self.slug)]


# What the forms say beforehand.


def test_the_form_says_whether_an_approval_can_be_withdrawn() -> None:
    last, first, browser = requested(), requested(required_approvals=2), petra()
    assert "Your approval settles the request, so you cannot withdraw it." in form(last, "approve", browser)
    assert "You can withdraw your approval while the request is open." in form(first, "approve", browser)


def test_the_form_of_a_cancellation_says_what_happens_to_the_task() -> None:
    _, (required,) = ask_at_creation(question())
    browser = operator()
    assert "the task is cancelled too, unless" in form(required, "cancel", browser)
    assert "The task goes on once no request that it waits for is open." in form(requested(), "cancel", browser)
    assert "and stays as it is." in form(requested(active()), "cancel", browser)


# Cancelling.


def test_cancelling_what_a_task_was_created_with_needs_the_right_to_cancel_the_task() -> None:
    task, (required,) = ask_at_creation(question())
    mona = Browser(person("mona", roles=("agent", "approver"), agent_roles=("manager",)))
    assert buttons(page(required, mona)) == ["cancel"]
    assert "The approval is cancelled." in text(move(mona, required, "cancel"))
    assert stored(task.pk, Task)["status"] == "cancelled"


def test_who_may_not_cancel_the_task_is_not_offered_to_cancel_its_request() -> None:
    """The replacement of a required request is an operator's, who may be an agent alone by the time it is cancelled."""
    _, (required,) = ask_at_creation(question())
    by = replace(somebody("otto", agent_roles=("finance",)), roles=frozenset({Role.OPERATOR}))
    asked = question("board", replaces=required.pk, reason="No manager is left.")
    new = boundary.write(partial(transitions.request, Task.objects.get(), asked, actor=by))
    assert new.required
    otto = Browser(person("otto", roles=("agent", "approver"), agent_roles=("finance",)))
    assert buttons(page(new, otto)) == []
    with only_refused(new.pk, "cancel", model=Approval):
        assert move(otto, new, "cancel").status_code == 403
    assert buttons(page(new, operator())) == ["cancel", "replace"]


def test_an_added_request_is_cancelled_by_who_made_it() -> None:
    approval = requested()
    finn = Browser(person("finn", roles=("agent", "approver"), agent_roles=("finance",)))
    assert buttons(page(approval, finn)) == ["cancel"]
    move(finn, approval, "cancel")
    assert stored(approval.task_id, Task)["status"] == "pending"


# Reopening.


@pytest.mark.parametrize("about", ["task", "session", "action"])
def test_an_operator_reopens_a_rejected_request(about: str) -> None:
    kinds = {
        "task": lambda: requested(active(), required_approvals=2, use_within_seconds=600),
        "session": lambda: requested_action(
            session_in("active", somebody("finn")), required_approvals=2, use_within_seconds=600
        ),
        "action": lambda: requested_action(required_approvals=2, use_within_seconds=600),
    }
    no, browser = rejected(kinds[about]()), operator()
    assert buttons(page(no, browser)) == ["reopen"]
    told = "A new request asks the same role the same question. It shows the rejection to those who decide."
    assert told in form(no, "reopen", browser)
    shown = move(browser, no, "reopen")
    assert f"This request reopens {no.pk}." in text(shown)
    new = new_request(reopens=no)
    kept = ("task_id", "session_id", "approver_role", "action", "required_approvals", "use_within_seconds")
    assert [getattr(new, name) for name in kept] == [getattr(no, name) for name in kept]
    assert new.expires_at - new.created_at == DAY
    assert (str(new.created_by), new.reason, str(new.status)) == ("local|olga", REASON["reason"], "pending")
    assert f"Reopens {no.pk}" in text(shown)
    assert "Rejected before rejected" in text(shown)
    before = page(no, browser)
    assert f"Reopened by {new.pk}" in text(before)
    assert buttons(before) == []
    assert last_event(new.pk).reason == REASON["reason"]
    assert_chain_holds(new)


def test_reopening_needs_a_reason_and_an_operator() -> None:
    no, browser = rejected(requested(active())), operator()
    assert "This field is required." in text(move(browser, no, "reopen", {"reason": " "}))
    assert buttons(page(no, petra("approver", "auditor", "agent"))) == []
    with only_refused(no.pk, "reopen", model=Approval):
        assert move(petra("approver", name="paul"), no, "reopen").status_code == 403
    assert not Approval.objects.filter(reopens=no).exists()


def _failed_task() -> Approval:
    return rejected(requested(pending()))


def _ended_session() -> Approval:
    session = session_in("active", somebody("finn"))
    no = rejected(requested_action(session))
    boundary.write(partial(sessions.amend, session, actor=somebody("finn"), status="completed"))
    return no


def _asked_elsewhere() -> Approval:
    task = active()
    no = rejected(requested(task))
    requested(task, approver_role="legal")
    return no


def _crowded() -> Approval:
    task = active()
    no = rejected(requested(task))
    for number in range(20):
        requested(task, action={"number": number})
    return no


@pytest.mark.parametrize("make", [_failed_task, _ended_session, _asked_elsewhere, _crowded])
def test_reopening_is_not_offered_where_it_would_be_refused_and_then_says_why(make: Any) -> None:
    no, browser = make(), operator()
    assert buttons(page(no, browser)) == []
    known = Approval.objects.count()
    shown = text(move(browser, no, "reopen"))
    words = {
        _failed_task: "It is failed and cannot become blocked.",
        _ended_session: "It is completed and cannot become requested.",
        _asked_elsewhere: "Already requested: Approval",
        _crowded: "Too many open requests: At most 20 requests may be open.",
    }
    assert words[make] in shown
    assert Approval.objects.count() == known


def test_a_request_is_reopened_once() -> None:
    no, browser = rejected(requested(active())), operator()
    move(browser, no, "reopen")
    assert "Already requested: Approval" in text(move(browser, no, "reopen"))
    assert Approval.objects.filter(reopens=no).count() == 1


def test_what_was_not_rejected_is_not_reopened() -> None:
    approval, browser = agreed(), operator()
    with unchanged(approval.pk, Approval):
        shown = text(move(browser, approval, "reopen"))
    assert "Only a rejected request can be reopened" in shown
    assert "Reopen this request" in shown


# Replacing.


REPLACEMENT = {"approver_role": " board ", "required_approvals": "2", "reason": "No manager is left."}


@pytest.mark.parametrize("about", ["task", "session", "action"])
def test_an_operator_replaces_what_too_few_known_people_can_decide(about: str) -> None:
    kinds = {
        "task": lambda: requested(required_approvals=2, use_within_seconds=600),
        "session": lambda: requested_action(
            session_in("active", somebody("finn")), required_approvals=2, use_within_seconds=600
        ),
        "action": lambda: requested_action(required_approvals=2, use_within_seconds=600),
    }
    old, browser = kinds[about](), operator()
    assert buttons(page(old, browser)) == ["cancel", "replace"]
    (field,) = re.findall(r'<input[^>]*name="required_approvals"[^>]*>', browser.get(form_of(old)).content.decode())
    assert 'value="2"' in field
    assert 'min="2"' in field
    shown = move(browser, old, "replace", REPLACEMENT)
    assert f"This request replaces {old.pk}." in text(shown)
    new = new_request(replaces=old)
    kept = ("task_id", "session_id", "action", "use_within_seconds", "blocks", "required")
    assert [getattr(new, name) for name in kept] == [getattr(old, name) for name in kept]
    assert (new.approver_role, new.required_approvals, new.reason) == ("board", 2, "No manager is left.")
    assert stored(old.pk, Approval)["status"] == "cancelled"
    assert f"Replaced by {new.pk}" in text(page(old, browser))
    assert f"Replaces {old.pk}" in text(shown)
    assert_chain_holds(new)
    assert_chain_holds(old)


def test_replacing_is_offered_while_too_few_known_people_can_decide() -> None:
    approval, browser = requested(required_approvals=2), operator()
    for name, offered in (("petra", ["cancel", "replace"]), ("paul", ["cancel"])):
        petra(name=name)
        assert buttons(page(approval, browser)) == offered
    with unchanged(approval.pk, Approval):
        shown = text(move(browser, approval, "replace", REPLACEMENT))
    assert "The request can still be decided: Known people of manager can decide it." in shown
    assert not Approval.objects.filter(replaces=approval).exists()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"required_approvals": "1"}, "It must be at least 2."),
        ({"required_approvals": "11"}, "Ensure this value is less than or equal to 10."),
        ({"required_approvals": "two"}, "Enter a whole number."),
        ({"approver_role": " "}, "This field is required."),
        ({"approver_role": "x" * 51}, "has at most 50 characters"),
        ({"approver_role": "bo\u200bard"}, "It has a character that cannot be seen."),
        ({"approver_role": "bo\u3164ard"}, "It has a character that cannot be seen."),
        ({"reason": ""}, "This field is required."),
    ],
    ids=str,
)
def test_the_form_of_a_replacement_asks_again(fields: dict[str, str], told: str) -> None:
    approval, browser = requested(required_approvals=2), operator()
    with unchanged(approval.pk, Approval):
        shown = text(move(browser, approval, "replace", {**REPLACEMENT, **fields}))
    assert told in shown
    assert "Replace this request" in shown
    assert not Approval.objects.filter(replaces=approval).exists()


def test_who_is_no_operator_does_not_replace() -> None:
    approval, browser = requested(), petra("approver", "auditor", "agent")
    assert buttons(page(approval, browser)) == ["approve", "reject"]
    with only_refused(approval.pk, "replace", model=Approval):
        assert move(browser, approval, "replace", REPLACEMENT).status_code == 403


def test_one_person_counts_once_on_a_replacement_too() -> None:
    old = agreed(requested(required_approvals=2), by=approver("petra"))
    move(operator(), old, "replace", {**REPLACEMENT, "approver_role": "manager"})
    new = new_request(replaces=old)
    assert buttons(page(new, petra())) == ["approve", "reject"]
    assert Decision.objects.get().approval_id == old.pk
    assert (new.action, new.granted) == (ACTION, 0)


# Past the deadline.


def test_a_decision_past_the_deadline_is_not_offered_and_says_why() -> None:
    task = pending(deadline=datetime.now(UTC) + timedelta(seconds=1))
    approval, browser = requested(task), petra()
    time.sleep(1)
    assert buttons(page(approval, browser)) == []
    with only_refused_as("deadline-exceeded", approval):
        assert "The task is past its deadline" in text(move(browser, approval, "approve", {}))
