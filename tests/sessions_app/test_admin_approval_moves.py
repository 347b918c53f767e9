"""Deciding and calling off approvals in the admin."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from sessions_app.models import Approval, Decision, Task
from tests.admin import APPROVALS, Browser, buttons, person, text
from tests.sessions_app.approval_states import APPROVALS_IN, agreed, approver, overdue, requested
from tests.sessions_app.session_calls import (
    UNKNOWN_ID,
    events_of,
    last_event,
    only_refused,
    somebody,
    stored,
    unchanged,
)
from tests.sessions_app.task_states import active, held, manager, pending
from tests.sessions_app.test_query_counts import costs
from tests.work import assert_chain_holds, chain, events

pytestmark = pytest.mark.django_db(transaction=True)

COMMENTS = {"comments": "Checked.\r\nTwice."}
REASON = {"reason": "Not needed.\r\nAny more."}
SAID = {"approve": COMMENTS, "reject": COMMENTS, "cancel": REASON}
SETTLED = [state for state in APPROVALS_IN if state not in ("pending", "voted", "overdue")]
ENDS = {
    "approve": ("approved", "approval.approved", "pending", "task.unblocked"),
    "reject": ("rejected", "approval.rejected", "failed", "task.failed"),
    # The task was not created with the request, so it goes on without it.
    "cancel": ("cancelled", "approval.cancelled", "pending", "task.unblocked"),
}


def petra(*roles: str, agent_roles: tuple[str, ...] = ("manager",)) -> Browser:
    """An approver for the role manager, unless told otherwise."""
    return Browser(person("petra", roles=roles or ("approver",), agent_roles=agent_roles))


def move(browser: Browser, approval: Approval, name: str, fields: Any = None, **headers: str) -> Any:
    return browser.move(f"{APPROVALS}{approval.pk}/", name, SAID[name] if fields is None else fields, **headers)


@contextmanager
def unchanged_but_for_the_refusal(approval: Approval) -> Iterator[None]:
    """Fails if the block moves the row, adds to its chain, or leaves other than one refusal."""
    row, seqs = stored(approval.pk, Approval), len(chain(approval))
    yield
    assert (stored(approval.pk, Approval), len(chain(approval))) == (row, seqs)
    assert len(events("event_type = 'approval.refused'")) == 1


def browser_for(name: str) -> Browser:
    return petra("operator") if name == "cancel" else petra()


@pytest.mark.parametrize("name", ENDS)
def test_ends_it_and_moves_its_task_with_the_event_as_the_cause(name: str) -> None:
    approval = requested()
    status, event_type, task_status, task_event = ENDS[name]
    page = move(browser_for(name), approval, name)
    assert f"The approval is {status}." in text(page)
    assert buttons(page) == []
    event, follows = last_event(approval.pk), last_event(approval.task_id)
    said = next(iter(SAID[name].values())).replace("\r\n", "\n")
    assert (event.event_type, event.reason, event.via) == (event_type, said, "admin")
    assert (event.actor_issuer, event.actor_subject, event.actor_kind) == ("local", "petra", "person")
    assert (follows.event_type, follows.cause, follows.via) == (task_event, event.pk, "admin")
    assert stored(approval.pk, Approval)["status"] == status
    assert stored(approval.task_id, Task)["status"] == task_status
    assert_chain_holds(approval)


@pytest.mark.parametrize(("name", "verdict"), [("approve", "approved"), ("reject", "rejected")])
def test_a_decision_is_kept_with_who_made_it(name: str, verdict: str) -> None:
    approval = requested()
    move(petra(), approval, name)
    decision = Decision.objects.get()
    assert (decision.approval_id, decision.decision, decision.comments) == (approval.pk, verdict, "Checked.\nTwice.")
    assert (str(decision.decider), decision.decider_kind) == ("local|petra", "person")


def test_one_of_several_is_told_how_many_agreed() -> None:
    approval = requested(required_approvals=2)
    page = move(petra(), approval, "approve")
    assert "You approved: 1 of 2 so far." in text(page)
    assert buttons(page) == ["withdraw"]
    assert last_event(approval.pk).event_type == "approval.voted"
    assert stored(approval.task_id, Task)["status"] == "blocked"


def test_one_may_agree_without_a_word() -> None:
    browser = petra()
    for fields in ({}, {"comments": " \r\n "}):
        approval = requested()
        assert "The approval is approved." in text(move(browser, approval, "approve", fields))
        assert Decision.objects.get(approval=approval).comments == ""


@pytest.mark.parametrize("name", ["reject", "cancel"])
def test_asks_why(name: str) -> None:
    approval, browser = requested(), browser_for(name)
    (field,) = SAID[name]
    with unchanged(approval.pk, Approval):
        for fields in ({}, {field: " \r\n "}):
            page = move(browser, approval, name, fields)
            assert "This field is required." in text(page)
            assert "Hansen Tools" in text(page)
    assert not Decision.objects.exists()


@pytest.mark.parametrize("name", SAID)
def test_takes_no_more_than_the_api_does(name: str) -> None:
    approval, browser = requested(), browser_for(name)
    (field,) = SAID[name]
    with unchanged(approval.pk, Approval):
        assert "has at most 4000 characters" in text(move(browser, approval, name, {field: "x" * 4001}))
    move(browser, approval, name, {field: "x" * 4000})
    assert last_event(approval.pk).reason == "x" * 4000


@pytest.mark.parametrize("name", SAID)
def test_a_get_repeats_what_exactly_is_asked_and_changes_nothing(name: str) -> None:
    approval, browser = requested(required_approvals=2), browser_for(name)
    with unchanged(approval.pk, Approval), unchanged(approval.task_id, Task):
        answer = browser.get(f"{APPROVALS}{approval.pk}/move/{name}/?comments=yes&reason=because")
    assert answer.status_code == 200
    assert f"{name.capitalize()} this request" in text(answer)
    assert '<form method="post"' in answer.content.decode()
    for told in (
        f"Task {approval.task_id} Type routing From → to manager → finance",
        'Action { "pay": "Hansen Tools", "items": [ { "sku": "press-41" } ], "amount": 48000 }',
        bytes(approval.action_digest or b"").hex(),
        "Requested by local|finn On behalf of – Agreed 0 of 2",
    ):
        assert told in text(answer)
    assert not Decision.objects.exists()


@pytest.mark.parametrize("name", SAID)
def test_a_form_without_its_token_is_refused(name: str) -> None:
    approval, browser = requested(), browser_for(name)
    path = f"{APPROVALS}{approval.pk}/move/{name}/"
    with unchanged(approval.pk, Approval):
        for fields in (SAID[name], {**SAID[name], "csrfmiddlewaretoken": "x" * 64}):
            assert browser.forge(path, fields).status_code == 403
    assert not Decision.objects.exists()
    assert not events("event_type = 'approval.refused'")


BARRED: Mapping[str, tuple[Callable[[], Approval], str, str]] = {
    "own": (lambda: requested(by=somebody("petra")), "separation-of-duties", "You requested it yourself."),
    "held": (lambda: requested(held(by=somebody("petra"))[0]), "separation-of-duties", "You hold the task."),
    "voted": (
        lambda: agreed(requested(required_approvals=2), by=approver("petra")),
        "already-decided",
        "Your decision counts already",
    ),
    "overdue": (overdue, "approval-expired", "The approval is past its time: Its time passed at"),
    "settled": (agreed, "illegal-transition", "The current state does not allow that: It is approved"),
}


@pytest.mark.parametrize("name", ["approve", "reject"])
@pytest.mark.parametrize("bar", BARRED)
def test_a_forged_decision_is_refused_told_and_recorded(name: str, bar: str) -> None:
    make, slug, words = BARRED[bar]
    approval, browser = make(), petra()
    decided = Decision.objects.count()
    with unchanged_but_for_the_refusal(approval):
        page = move(browser, approval, name)
    assert page.status_code == 200
    assert words in text(page)
    assert Decision.objects.count() == decided
    (refused,) = events("event_type = 'approval.refused'")
    assert (refused["reason"], refused["subject_id"], refused["via"]) == (slug, approval.pk, "admin")
    assert refused["actor_subject"] == "petra"


@pytest.mark.parametrize("state", SETTLED)
def test_what_is_settled_is_not_called_off(state: str) -> None:
    approval = APPROVALS_IN[state]()
    with unchanged(approval.pk, Approval):
        page = move(petra("operator"), approval, "cancel")
    assert f"The current state does not allow that: It is {approval.status}" in text(page)


def test_what_is_past_its_time_is_not_called_off() -> None:
    approval = overdue()
    with unchanged_but_for_the_refusal(approval):
        assert "The approval is past its time" in text(move(petra("operator"), approval, "cancel"))
    assert [event["reason"] for event in events("event_type = 'approval.refused'")] == ["approval-expired"]


@pytest.mark.parametrize(
    ("roles", "agent_roles", "name"),
    [
        (("operator",), ("manager",), "approve"),
        (("operator", "auditor", "agent"), ("manager",), "reject"),
        (("approver", "auditor"), ("legal",), "approve"),
        (("approver",), ("manager",), "cancel"),
        (("agent", "approver"), ("finance", "manager"), "cancel"),
    ],
)
def test_whoever_has_no_right_to_it_is_refused(roles: tuple[str, ...], agent_roles: tuple[str, ...], name: str) -> None:
    approval, browser = requested(), petra(*roles, agent_roles=agent_roles)
    with only_refused(approval.pk, name, model=Approval):
        assert move(browser, approval, name).status_code == 403
        assert browser.get(f"{APPROVALS}{approval.pk}/move/{name}/").status_code == 403


def test_whoever_asked_may_call_it_off() -> None:
    approval = requested(active())
    finn = Browser(person("finn", roles=("agent", "approver"), agent_roles=("finance",)))
    assert "The approval is cancelled." in text(move(finn, approval, "cancel"))
    assert stored(approval.task_id, Task)["status"] == "active"


def test_what_is_not_theirs_to_see_looks_missing() -> None:
    foreign = requested(pending(by=manager("acme")), by=manager("acme"))
    of_others, browser = requested(approver_role="legal"), petra()
    for approval in (foreign, of_others):
        with unchanged(approval.pk, Approval):
            assert move(browser, approval, "approve").status_code == 404
    assert browser.get(f"{APPROVALS}{UNKNOWN_ID}/move/approve/").status_code == 404


@pytest.mark.parametrize("name", ["consume", "expire", "approved", "APPROVE", "delete"])
def test_knows_no_other_moves(name: str) -> None:
    approval, browser = requested(), petra("approver", "operator")
    with unchanged(approval.pk, Approval):
        assert move(browser, approval, name, COMMENTS).status_code == 404


def test_refuses_whoever_is_not_logged_in() -> None:
    approval = requested()
    with unchanged(approval.pk, Approval):
        path = f"{APPROVALS}{approval.pk}/move/approve/"
        answer = Browser().send(path, COMMENTS, token_of="/admin/login/")
    assert answer["Location"].startswith("/admin/login/")


def test_takes_what_the_call_of_the_api_takes() -> None:
    approval, browser = requested(active()), petra()
    token = browser.get("/admin/").content.decode().split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    login, message = ("SELECT", "SELECT"), ("BEGIN", "UPDATE", "COMMIT")
    # The row, whether the person is cut off, the task, the row again, and whether the person must not decide it.
    call = ("BEGIN", *("SELECT",) * 5, "INSERT", "UPDATE", "INSERT", "COMMIT")
    with costs(*login, *call, *message):
        browser.forge(f"{APPROVALS}{approval.pk}/move/approve/", {**COMMENTS, "csrfmiddlewaretoken": token})
    assert len(events_of(approval.pk)) == 2
