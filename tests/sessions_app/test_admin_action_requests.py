"""Requests about an action in the admin, without a task; what was decided before; which approvers are known."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from orchestrator import boundary
from orchestrator.people.models import Person
from sessions_app import approvers
from sessions_app.models import Approval
from sessions_app.transitions import approvals as transitions
from sessions_app.transitions import person as people
from tests.admin import APPROVALS, SESSIONS, TASKS, Browser, buttons, ids, person, statements, text
from tests.sessions_app.approval_states import (
    ACTION,
    agreed,
    approver,
    overdue,
    rejected,
    requested,
    requested_action,
)
from tests.sessions_app.session_calls import UNKNOWN_ID, session_in, somebody
from tests.sessions_app.task_states import active, pending
from tests.work import actor

pytestmark = pytest.mark.django_db(transaction=True)

HOSTILE = "<script>alert(1)</script>"
OTHER = {"pay": "Meier Presses", "amount": 1}


def petra(*roles: str) -> Browser:
    """An approver for the role manager, unless told otherwise."""
    return Browser(person("petra", roles=roles or ("approver",), agent_roles=("manager",)))


def page(approval: Approval, browser: Browser | None = None) -> Any:
    return (browser or Browser(person())).get(f"{APPROVALS}{approval.pk}/change/")


def form(approval: Approval, name: str, browser: Browser) -> Any:
    answer = browser.get(f"{APPROVALS}{approval.pk}/move/{name}/")
    assert answer.status_code == 200
    return answer


def found(browser: Browser, query: str) -> list[str]:
    return ids(browser.get(f"{APPROVALS}?{query}"))


def known_approvers(*names: str) -> None:
    for name in names:
        person(name, roles=("approver",), agent_roles=("manager",))


# The list.


def test_the_list_shows_what_each_request_is_about() -> None:
    session = session_in("active", somebody("finn"))
    about_task, in_session, alone = requested(), requested_action(session), requested_action()
    known_approvers("petra")
    page = Browser(person()).get(APPROVALS)
    for told in (
        f"{about_task.pk} manager task {about_task.task_id} pending 0/1 local|finn",
        f"{in_session.pk} manager action in session {session.pk} pending 0/1 local|finn",
        f"{alone.pk} manager action pending 0/1 local|finn",
    ):
        assert told in text(page)
    assert f'href="{SESSIONS}{session.pk}/change/"' in page.content.decode()


def test_the_list_is_filtered_by_kind_and_session() -> None:
    session, browser = session_in("active", somebody("finn")), Browser(person())
    about_task, in_session, alone = requested(), requested_action(session), requested_action()
    assert found(browser, "kind=task") == [str(about_task.pk)]
    assert found(browser, "kind=action") == [str(alone.pk), str(in_session.pk)]
    for session_id in (str(session.pk), f"+session-{session.pk}+".upper().replace("SESSION", "session")):
        assert found(browser, f"session_id={session_id}") == [str(in_session.pk)]
        assert found(browser, f"session_id={session_id}&kind=task") == []
    for no_id in ("finance", f"task-{session.pk}", UNKNOWN_ID):
        assert found(browser, f"session_id={no_id}") == []
    answer = browser.get(f"{APPROVALS}?kind=question")
    assert answer.status_code == 400
    assert "It must be one of task, action." in text(answer)


def test_the_search_finds_by_session_and_by_nothing_that_is_missing() -> None:
    session, browser = session_in("active", somebody("finn")), Browser(person())
    about_task, in_session, alone = requested(), requested_action(session), requested_action()
    for term in (session.pk, f"session-{session.pk}", in_session.pk, f"approval-{in_session.pk}"):
        assert found(browser, f"q={term}") == [str(in_session.pk)], term
    assert found(browser, f"q=task-{about_task.task_id}") == [str(about_task.pk)]
    assert found(browser, f"q=approval-{alone.pk}") == [str(alone.pk)]
    # A request about an action has no task: the search for the id of an approval does not ask for no task.
    for term in (f"approval-{UNKNOWN_ID}", f"session-{UNKNOWN_ID}", f"task-{UNKNOWN_ID}", UNKNOWN_ID):
        assert found(browser, f"q={term}") == [], term


def test_the_list_marks_what_too_few_known_people_can_decide() -> None:
    requested(required_approvals=2)
    known_approvers("petra")
    browser = Browser(person())
    assert "Known approvers: 1 of 2 needed" in text(browser.get(APPROVALS))
    known_approvers("paul")
    assert "Known approvers" not in text(browser.get(APPROVALS))


def test_the_mark_is_for_open_requests_alone() -> None:
    browser = Browser(person())
    for make in (overdue, agreed, rejected):
        make()
    assert "Known approvers" not in text(browser.get(APPROVALS))


def test_the_list_counts_the_approvers_of_a_page_in_one_query() -> None:
    browser = Browser(person())
    for count in range(3):
        requested_action(action={"number": count})
        requested()
        with statements("django_session", "people_person", "approvals", "approvals", "people_person"):
            assert "Known approvers: 0 of 1 needed" in text(browser.get(APPROVALS))


def test_known_approvers_are_counted_by_person_and_at_most_up_to_the_quorum() -> None:
    one, three = requested(), requested(required_approvals=3)
    known_approvers("petra", "paul", "finn", "gone")
    Person.objects.filter(subject="gone").update(is_active=False)
    # finn is the requester.
    assert approvers.able([one, three]) == {one.pk: 1, three.pk: 2}
    alias = person("petra-2", roles=("approver",), agent_roles=("manager",))
    assert approvers.able([three]) == {three.pk: 3}
    Person.objects.filter(pk=alias.pk).update(alias_of=Person.objects.get(subject="petra"))
    assert approvers.able([three]) == {three.pk: 2}


# The page and the form.


def test_shows_an_action_of_a_session() -> None:
    session = session_in("active", somebody("finn"))
    approval = requested_action(session, use_within_seconds=5400)
    known_approvers("paul")
    shown = page(approval)
    for told in (
        f"Kind Action Session {session.pk} Role of the session finance Status of the session active",
        'Action { "pay": "Hansen Tools",',
        "Use within 1 hour 30 minutes after the approval",
    ):
        assert told in text(shown)
    assert "May be consumed until" not in text(shown)
    assert f'href="{SESSIONS}{session.pk}/change/"' in shown.content.decode()


def test_shows_an_action_that_stands_alone() -> None:
    browser = petra()
    approval = requested_action()
    assert "Kind Action Reason Above the limit." in text(page(approval, browser))
    assert "Kind Action Reason Above the limit." in text(form(approval, "approve", browser))


@pytest.mark.parametrize("make", [requested_action, lambda: requested_action(session_in("active", somebody("finn")))])
def test_an_action_is_decided_and_cancelled_as_a_task_is(make: Any) -> None:
    browser, operator = petra(), Browser(person("otto"))
    for name, status in (("approve", "approved"), ("reject", "rejected")):
        # The requester of each is another one.
        approval = requested_action(by=somebody(f"agent-of-{name}")) if make is requested_action else make()
        assert buttons(page(approval, browser)) == ["approve", "reject"]
        assert f"The approval is {status}." in text(
            browser.move(f"{APPROVALS}{approval.pk}/", name, {"comments": "Checked."})
        )
    approval = requested_action(action=OTHER)
    assert "Nothing else changes: the requester gets no grant." in text(form(approval, "cancel", operator))
    shown = text(operator.move(f"{APPROVALS}{approval.pk}/", "cancel", {"reason": "Not needed."}))
    assert "The approval is cancelled." in shown


def test_says_until_when_a_grant_may_be_consumed() -> None:
    approval = agreed(requested_action(use_within_seconds=60))
    assert approval.decision_at
    until = approval.decision_at + timedelta(seconds=60)
    shown = text(page(approval))
    assert f"Use within 1 minute after the approval May be consumed until (UTC) {until:%Y-%m-%d %H:%M:%S}" in shown
    assert "(over)" not in shown


def test_shows_no_more_of_the_session_than_the_person_sees() -> None:
    session = session_in("active", somebody("finn"))
    shown = page(requested_action(session, approver_role="legal"), Browser(person("lea", agent_roles=("legal",))))
    assert "Role of the session" in text(shown)
    lea = person("lara", roles=("approver",), agent_roles=("legal",))
    shown = page(Approval.objects.get(), Browser(lea))
    assert f"Session {session.pk} Reason" in text(shown)
    assert f'href="{SESSIONS}{session.pk}' not in shown.content.decode()


def test_warns_where_too_few_known_people_can_decide() -> None:
    approval, browser = requested(required_approvals=2), petra()
    told = "Warning Known approvers: 1 of 2 needed"
    assert told in text(page(approval, browser))
    assert told in text(form(approval, "approve", browser))
    known_approvers("paul")
    assert "Known approvers" not in text(page(approval, browser))


def test_shows_earlier_requests_with_the_rejections_on_top() -> None:
    task, browser = active(), petra("approver", "auditor")
    no = rejected(requested(task))
    yes = agreed(requested(task, action=OTHER), comments="Fine\nby me.")
    approval = requested(task, approver_role="manager", action={**OTHER, "amount": 2})
    for shown in (page(approval, browser), form(approval, "approve", browser)):
        rejection, approval_before = (
            f"{at:%Y-%m-%d %H:%M:%S}" for at in (no.decision_at, yes.decision_at) if at is not None
        )
        first = f"Rejected before rejected {rejection} by local|max, role manager: {no.pk} Not covered."
        then = f"Earlier requests approved {approval_before} by local|max, role manager: {yes.pk} Fine by me."
        assert f"{first} Kind Task" in text(shown) or f"{first} Warning" in text(shown)
        assert then in text(shown)
        assert f'href="{APPROVALS}{no.pk}/change/"' in shown.content.decode()


def test_an_earlier_request_to_another_role_has_no_link_for_those_who_do_not_see_it() -> None:
    task = active()
    of_legal = rejected(requested(task, approver_role="legal"), by=approver("lea", agent_roles=("legal",)))
    approval = requested(task, action=OTHER)
    shown = page(approval, petra())
    assert f"role legal: {of_legal.pk} Not covered." in text(shown)
    assert f'href="{APPROVALS}{of_legal.pk}' not in shown.content.decode()


def test_what_callers_wrote_before_is_text() -> None:
    session = session_in("active", somebody("finn"))
    hostile: dict[str, Any] = {"reason": HOSTILE, "action": {HOSTILE: HOSTILE}, "approver_role": HOSTILE}
    by = approver(HOSTILE, agent_roles=(HOSTILE,))
    before = requested_action(session, **hostile)
    boundary.write(partial(transitions.reject, before, comments=HOSTILE, actor=by))
    approval = requested_action(session, **{**hostile, "action": {HOSTILE: 1}, "required_approvals": 2})
    agreed(approval, by=by, comments=HOSTILE)
    boundary.write(partial(transitions.withdraw, approval, comments=HOSTILE, actor=by))
    browser = Browser(person("petra", roles=("approver", "operator"), agent_roles=(HOSTILE,)))
    for path in (f"{APPROVALS}{approval.pk}/change/", f"{APPROVALS}{approval.pk}/move/approve/", APPROVALS):
        answer = browser.get(path)
        assert answer.status_code == 200
        assert HOSTILE not in answer.content.decode(), path


def test_decisions_that_do_not_count_stay_visible_with_the_reason() -> None:
    approval, browser = requested(required_approvals=3), petra("approver", "auditor")
    agreed(approval, by=approver("max"))
    agreed(approval, by=approver("nora"), comments="Go.")
    boundary.write(partial(transitions.withdraw, approval, comments="I misread.", actor=approver("max")))
    boundary.write(
        partial(people.cut_off, approver("nora").identity, actor=actor("olga", tenant="default"), reason="left")
    )
    for shown in (page(approval, browser), form(approval, "approve", browser)):
        assert "does not count since" in text(shown)
        assert "withdrawn by the person" in text(shown)
        assert "the person was cut off" in text(shown)
        assert "<del>approved</del>" in shown.content.decode()
        assert "Agreed 0 of 3" in text(shown)


def test_pages_take_at_most_twelve_statements() -> None:
    task = active()
    rejected(requested(task))
    approval = requested(task, required_approvals=3, action=OTHER)
    agreed(approval, by=approver("petra"))
    browser = petra("approver", "operator", "agent")
    page(approval, browser)
    login, counted = ("django_session", "people_person", "approvals"), "people_person"
    # The statement on earlier requests names the decisions first.
    shown = ("audit_events", "approval_decisions", "approvals", "tasks", "approval_decisions")
    # Whether it awaits the person, whether the person may withdraw, and whether it can be replaced.
    offers = ("approvals", "approval_decisions", "tasks")
    with statements(*login, counted, *shown, *offers):
        assert buttons(page(approval, browser)) == ["withdraw", "cancel", "replace"]


# Pages of sessions and tasks.


def test_the_page_of_a_session_lists_its_requests() -> None:
    session, browser = session_in("active", somebody("finn")), Browser(person())
    first, second = agreed(requested_action(session)), requested_action(session, action=OTHER, approver_role="legal")
    other = requested_action()
    where = f"{SESSIONS}{session.pk}/change/"
    shown = browser.get(where)
    assert f"{first.pk} manager approved 1/1 local|finn" in text(shown)
    assert text(shown).index(f"{second.pk} legal pending 0/1") < text(shown).index(str(first.pk))
    assert str(other.pk) not in text(shown)
    assert f'href="{APPROVALS}{first.pk}/change/"' in shown.content.decode()
    approver_of_finance = Browser(person("petra", roles=("approver",), agent_roles=("manager", "finance")))
    shown = text(approver_of_finance.get(where))
    assert (str(first.pk) in shown, str(second.pk) in shown) == (True, False)
    with statements("django_session", "people_person", "sessions", "audit_events", "approvals"):
        browser.get(where)


def test_the_page_of_a_task_shows_none_of_an_action() -> None:
    task = pending()
    approval = requested_action(action=ACTION)
    assert str(approval.pk) not in text(Browser(person()).get(f"{TASKS}{task.pk}/change/"))
