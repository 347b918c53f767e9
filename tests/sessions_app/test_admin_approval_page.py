"""An approval's page in the admin: what exactly is asked, who said what, what happened, what can be done."""

from dataclasses import replace
from typing import Any

import pytest

from sessions_app.models import Approval, Decision
from tests.admin import APPROVALS, EVENTS, TASKS, Browser, buttons, ids, person, statements, text
from tests.sessions_app.approval_states import (
    APPROVALS_IN,
    agreed,
    approver,
    consumed,
    overdue,
    rejected,
    requested,
)
from tests.sessions_app.session_calls import UNKNOWN_ID, last_event, somebody, unchanged
from tests.sessions_app.task_states import active, held, manager, pending

pytestmark = pytest.mark.django_db(transaction=True)

HOSTILE = "<script>alert(1)</script>"
OPEN = {"pending", "voted"}
# Of the action as canonical JSON, by sha256sum.
DIGEST = "1c6e6eb004c3a4ad9473073794ec1cc9f4209e2523640cbff310b25a1b65c1c9"


def petra(*roles: str, agent_roles: tuple[str, ...] = ("manager",)) -> Browser:
    """An approver for the role manager, unless told otherwise."""
    return Browser(person("petra", roles=roles or ("approver",), agent_roles=agent_roles))


def page(approval: Approval, browser: Browser | None = None) -> Any:
    return (browser or Browser(person())).get(f"{APPROVALS}{approval.pk}/change/")


def on_behalf_of_petra() -> Approval:
    return requested(by=replace(somebody("agnes"), on_behalf_of=somebody("petra").identity))


def test_shows_exactly_what_is_asked() -> None:
    task = pending(task_type="purchase", to_role="finance", description="Buy\npresses.")
    approval = requested(task, required_approvals=3, reason="Above\nthe limit.")
    answer = page(approval, petra())
    asked = (
        f"Task {task.pk} Type purchase From → to manager → finance Description Buy presses. Reason Above the limit. "
        'Action { "pay": "Hansen Tools", "items": [ { "sku": "press-41" } ], "amount": 48000 } '
        f"SHA-256 of the action {DIGEST} Requested by local|finn On behalf of – Agreed 0 of 3 "
        f"Expires (UTC) {approval.expires_at:%Y-%m-%d %H:%M:%S}"
    )
    assert asked in text(answer)
    assert "Above\nthe limit." in answer.content.decode()
    assert f'href="{TASKS}{task.pk}/change/"' in answer.content.decode()


def test_shows_what_became_of_it() -> None:
    approval = consumed()
    shown = text(page(approval))
    for told in (
        f"Id {approval.pk} Status approved Approver role manager Blocks its task yes",
        f"Decided (UTC) {approval.decision_at:%Y-%m-%d %H:%M:%S}",
        f"Consumed (UTC) {approval.consumed_at:%Y-%m-%d %H:%M:%S}",
        f"Tenant default Version {approval.version}",
        bytes(approval.audit_head).hex(),
    ):
        assert told in shown
    assert "Blocks its task no" in text(page(requested(active()), Browser(person("otto"))))


def test_says_for_whom_an_agent_asked_and_that_it_asked_for_nothing_to_be_done() -> None:
    shown = text(page(on_behalf_of_petra()))
    assert "Requested by local|agnes On behalf of local|petra" in shown
    shown = text(page(requested(action=None, reason=""), Browser(person("otto"))))
    assert "Reason – Action – SHA-256 of the action – Requested by" in shown


def test_says_what_is_over() -> None:
    late = overdue()
    assert f"{late.expires_at:%Y-%m-%d %H:%M:%S} (over)" in text(page(late))
    assert "(over)" not in text(page(consumed(), Browser(person("otto"))))


def test_shows_who_said_what_in_the_order_in_which_they_did() -> None:
    approval = rejected(agreed(requested(required_approvals=3), comments="Checked.\nTwice."), by=approver("nora"))
    answer = page(approval)
    yes, no = (
        f"{decision.decided_at:%Y-%m-%d %H:%M:%S}"
        for decision in Decision.objects.filter(approval=approval).order_by("id")
    )
    said = f"local|max approved {yes} Checked. Twice. local|nora rejected {no} Not covered. Timeline"
    assert f"Decisions Who What When (UTC) Comments {said}" in text(answer)
    assert "Checked.\nTwice." in answer.content.decode()


def test_tells_no_more_of_the_task_than_the_person_sees() -> None:
    task = pending(to_role="legal", description="Sue them.")
    requested(task, by=somebody("lea"))
    asked_before = Approval.objects.get()
    lea = Browser(person("lea", roles=("agent", "approver"), agent_roles=("finance",)))
    shown = page(asked_before, lea)
    assert f"Task {task.pk} Reason Above the limit." in text(shown)
    assert "Sue them." not in text(shown)
    assert f'href="{TASKS}{task.pk}' not in shown.content.decode()


def test_tells_what_happened() -> None:
    approval, browser = consumed(), Browser(person())
    shown = text(page(approval, browser))
    assert "approval.approved pending → approved local|max api Checked." in shown
    told = ("approval.consumed", "approval.approved", "approval.created")
    assert sorted(told, key=shown.index) == list(told)
    assert f'href="{EVENTS}?q={approval.pk}"' in page(approval, browser).content.decode()


@pytest.mark.parametrize(("roles", "sees"), [(("auditor",), True), (("operator",), True), (("approver",), False)])
def test_tells_it_to_auditors_and_operators(roles: tuple[str, ...], sees: bool) -> None:
    shown = text(page(agreed(), petra(*roles)))
    assert ("approval.created" in shown) is sees
    assert ("Auditors and operators see what happened here." in shown) is not sees


def test_an_event_and_its_task_lead_to_it() -> None:
    approval, browser = agreed(), Browser(person())
    where = f'href="{APPROVALS}{approval.pk}/change/"'
    event = last_event(approval.pk)
    for path in (EVENTS, f"{EVENTS}{event.pk}/change/", f"{TASKS}{approval.task_id}/change/"):
        assert where in browser.get(path).content.decode(), path


def test_the_tasks_page_lists_its_approvals_as_far_as_the_person_sees_them() -> None:
    task = pending()
    first = agreed(requested(task, required_approvals=2))
    second = requested(task, approver_role="legal", action={"sue": "Hansen Tools"})
    requested()
    where = f"{TASKS}{task.pk}/change/"
    shown = text(Browser(person()).get(where))
    assert "Approvals Id Role Status Agreed Requested by Expires (UTC) Created (UTC)" in shown
    ends, made = (f"{at:%Y-%m-%d %H:%M:%S}" for at in (first.expires_at, first.created_at))
    assert f"{first.pk} manager pending 1/2 local|finn {ends} {made} Attempts" in shown
    assert shown.index(f"{second.pk} legal pending 0/1") < shown.index(str(first.pk))
    shown = text(petra().get(where))
    assert (str(first.pk) in shown, str(second.pk) in shown) == (True, False)


def test_what_callers_wrote_is_text() -> None:
    task = pending(task_type=HOSTILE, to_role=HOSTILE, from_role=HOSTILE, description=HOSTILE, by=somebody(HOSTILE))
    hostile: dict[str, Any] = {"reason": HOSTILE, "action": {HOSTILE: HOSTILE}, "approver_role": HOSTILE}
    approval = requested(task, required_approvals=2, by=somebody(HOSTILE), **hostile)
    approval = agreed(approval, by=approver(f"{HOSTILE}2"), comments=HOSTILE)
    browser = petra("approver", "operator", agent_roles=(HOSTILE,))
    where = f"{APPROVALS}{approval.pk}/"
    forms = [f"{where}move/{name}/" for name in ("approve", "reject", "cancel")]
    for path in (APPROVALS, f"{where}change/", *forms, f"{TASKS}{task.pk}/change/", EVENTS):
        answer = browser.get(path)
        assert answer.status_code == 200
        assert HOSTILE not in answer.content.decode(), path
        assert "&lt;script&gt;" in answer.content.decode(), path


@pytest.mark.parametrize("hidden", ["\u202e", "\u200b", "\u2028", "\u00a0", "\u00ad", "\x7f", "\U000e0041"])
def test_nothing_hides_in_an_action(hidden: str) -> None:
    escaped = hidden.encode("unicode_escape").decode()
    if hidden > "\uffff":
        escaped = r"\udb40\udc41"
    elif len(escaped) == 4:
        escaped = rf"\u00{escaped[2:]}"
    approval, browser = requested(action={"pay": f"Grüße{hidden} 山田"}), petra()
    for path in ("change/", "move/approve/"):
        answer = browser.get(f"{APPROVALS}{approval.pk}/{path}")
        assert hidden not in answer.content.decode()
        assert f'"pay": "Grüße{escaped} 山田"' in text(answer)


@pytest.mark.parametrize("state", APPROVALS_IN)
def test_offers_an_approver_to_decide_what_is_open(state: str) -> None:
    offered = ["approve", "reject"] if state in OPEN else []
    assert buttons(page(APPROVALS_IN[state](), petra())) == offered


@pytest.mark.parametrize("state", APPROVALS_IN)
def test_offers_operators_to_cancel_what_is_open_and_never_to_decide(state: str) -> None:
    operator = petra("operator", agent_roles=("manager",))
    for name in ("nora", "paul"):
        person(name, roles=("approver",), agent_roles=("manager",))
    assert buttons(page(APPROVALS_IN[state](), operator)) == (["cancel"] if state in OPEN else [])


@pytest.mark.parametrize("state", APPROVALS_IN)
def test_offers_whoever_asked_to_cancel_what_is_open(state: str) -> None:
    finn = Browser(person("finn", roles=("agent", "approver"), agent_roles=("finance", "manager")))
    assert buttons(page(APPROVALS_IN[state](), finn)) == (["cancel"] if state in OPEN else [])


@pytest.mark.parametrize(
    "bar",
    [
        lambda: requested(by=somebody("petra")),
        on_behalf_of_petra,
        lambda: requested(held(by=somebody("petra"))[0]),
        lambda: requested(approver_role="legal"),
    ],
    ids=["own", "on behalf", "holder", "other role"],
)
def test_does_not_offer_what_the_transition_would_refuse(bar: Any) -> None:
    approval, browser = bar(), petra("approver", "auditor")
    assert buttons(page(approval, browser)) == []
    assert ids(browser.get(f"{APPROVALS}?assignee=me")) == []
    everybody_else = Browser(person("nora", roles=("approver",), agent_roles=("manager", "legal")))
    assert buttons(page(approval, everybody_else)) == ["approve", "reject"]


@pytest.mark.parametrize("roles", [("auditor",), ("auditor", "agent")])
def test_offers_nothing_to_those_who_may_only_look(roles: tuple[str, ...]) -> None:
    answer = page(requested(), petra(*roles))
    assert answer.status_code == 200
    assert buttons(answer) == []


def test_what_is_not_theirs_to_see_looks_missing() -> None:
    foreign = requested(pending(by=manager("acme")), by=manager("acme"))
    of_others, browser = requested(approver_role="legal"), petra()
    answers = [browser.get(f"{APPROVALS}{pk}/change/") for pk in (foreign.pk, of_others.pk, UNKNOWN_ID)]
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert len({text(answer).replace(answer["X-Request-Id"], "") for answer in answers}) == 1


@pytest.mark.parametrize("form", ["change/", "delete/", "history/"])
def test_nothing_is_edited_deleted_or_added(form: str) -> None:
    approval, browser = requested(), Browser(person(is_superuser=True))
    with unchanged(approval.pk, Approval):
        fields = {"approver_role": "finance", "status": "approved", "action": "{}", "granted": "1", "post": "yes"}
        for path in (f"{APPROVALS}{approval.pk}/{form}", f"{APPROVALS}add/"):
            answer = browser.send(path, fields, token_of="/admin/")
            assert answer.status_code in (302, 403), path
    assert Approval.objects.count() == 1


def test_takes_the_row_its_task_its_decisions_and_whether_it_awaits_somebody() -> None:
    open_one, settled, browser = agreed(requested(required_approvals=2)), consumed(), petra("approver", "auditor")
    login, row = ("django_session", "people_person"), ("approvals",)
    # What was decided before (the statement names the decisions first), the task, the decisions.
    shown = ("audit_events", "approval_decisions", "tasks", "approval_decisions")
    page(open_one, browser)
    # Beside these its known approvers, and whether it awaits the person.
    with statements(*login, *row, "people_person", *shown, "approvals"):
        assert page(open_one, browser).status_code == 200
    with statements(*login, *row, *shown):
        assert page(settled, browser).status_code == 200
