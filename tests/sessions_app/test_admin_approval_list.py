"""The admin's list of approvals, which is everybody's inbox, and what the overview tells of it."""

from dataclasses import replace

import pytest
from django.db import connection

from sessions_app.admin import overview
from tests.admin import APPROVALS, TASKS, Browser, ids, person, statements, text
from tests.api import Api, token
from tests.sessions_app.approval_states import agreed, approver, overdue, rejected, requested, withdrawn
from tests.sessions_app.session_calls import somebody, unchanged
from tests.sessions_app.task_states import active, held, manager, pending

pytestmark = pytest.mark.django_db(transaction=True)

# The last one counts the known approvers of all open requests of the page.
LIST = ("django_session", "people_person", "approvals", "approvals", "people_person")
INBOX = f"{APPROVALS}?assignee=me"


def petra(*roles: str, agent_roles: tuple[str, ...] = ("manager",)) -> Browser:
    """An approver for the role manager, unless told otherwise."""
    return Browser(person("petra", roles=roles or ("approver",), agent_roles=agent_roles))


def found(browser: Browser, query: str) -> list[str]:
    return ids(browser.get(f"{APPROVALS}?{query}"))


def test_shows_approvals_with_their_state_the_newest_first() -> None:
    approvals = [requested(), agreed(), rejected(), withdrawn()]
    page = Browser(person()).get(APPROVALS)
    assert ids(page) == [str(approval.pk) for approval in reversed(approvals)]
    assert "4 approvals" in text(page)
    for state in ("pending", "approved", "rejected", "cancelled"):
        assert state in text(page)


def test_shows_what_is_asked_of_whom_and_how_many_agreed() -> None:
    approval = agreed(requested(required_approvals=3))
    ends, made = (f"{at:%Y-%m-%d %H:%M:%S}" for at in (approval.expires_at, approval.created_at))
    page = Browser(person()).get(APPROVALS)
    known = "1/3 Known approvers: 0 of 3 needed"
    assert f"{approval.pk} manager task {approval.task_id} pending {known} local|finn {ends} {made}" in text(page)
    assert f'href="{TASKS}{approval.task_id}/change/"' in page.content.decode()


def test_says_whose_time_is_over() -> None:
    browser = Browser(person())
    agreed()
    assert "(over)" not in text(browser.get(APPROVALS))
    late = overdue()
    # Its known approvers do not matter any more.
    assert f"pending 0/1 local|finn {late.expires_at:%Y-%m-%d %H:%M:%S} (over)" in text(browser.get(APPROVALS))


def test_shows_the_persons_tenant_alone() -> None:
    mine = requested()
    requested(pending(by=manager("acme")), by=manager("acme"))
    assert found(Browser(person()), "") == [str(mine.pk)]


@pytest.mark.parametrize("role", ["auditor", "operator"])
def test_shows_all_to_auditors_and_operators(role: str) -> None:
    approvals = [requested(approver_role="legal"), requested()]
    assert found(Browser(person(roles=(role,))), "") == [str(approval.pk) for approval in reversed(approvals)]


def test_shows_approvers_what_is_for_their_roles_and_agents_what_they_asked() -> None:
    of_role, own = requested(), requested(by=somebody("petra"), approver_role="legal")
    requested(approver_role="legal")
    known = person("petra", roles=("approver",), agent_roles=("manager",))
    assert found(Browser(known), "") == [str(of_role.pk)]
    known.roles = ["approver", "agent"]
    known.save()
    assert found(Browser(known), "") == [str(own.pk), str(of_role.pk)]


def test_filters_by_status_role_and_time() -> None:
    browser, legal, settled = Browser(person()), requested(approver_role="legal"), agreed()
    assert found(browser, "status__exact=approved") == [str(settled.pk)]
    assert found(browser, "approver_role=legal") == found(browser, "approver_role=+legal+") == [str(legal.pk)]
    assert found(browser, "approver_role=lega") == found(browser, "approver_role=legal&status__exact=approved") == []
    assert found(browser, "created_at__gte=2000-01-01+00:00Z&created_at__lt=2001-01-01+00:00Z") == []


def test_finds_by_id_task_and_role() -> None:
    browser, approval = Browser(person()), requested(approver_role="human resources")
    other = requested()
    for term in (approval.pk, str(approval.pk).upper(), f"approval-{approval.pk}", approval.task_id):
        assert found(browser, f"q={term}") == [str(approval.pk)], term
    for term in (f"task-{approval.task_id}", "%22human+resources%22", f"{approval.pk}+{approval.task_id}"):
        assert found(browser, f"q={term}") == [str(approval.pk)], term
    wrong = (f"task-{approval.pk}", f"approval-{approval.task_id}", f"session-{approval.pk}", f"{other.pk}+legal")
    for term in (approval.pk.hex, "human", *wrong):
        assert found(browser, f"q={term}") == [], term


def test_knows_no_other_order_and_no_other_lookup() -> None:
    browser, approvals = Browser(person()), [str(requested().pk) for _ in range(3)]
    assert found(browser, "o=1") == found(browser, "o=-2.3") == approvals[::-1]
    for query in ("id__startswith=0", "action__contains={}", "tenant=acme", "task__to_role=a", "reason=x"):
        assert browser.get(f"{APPROVALS}?{query}").status_code == 400, query


def everything_that_can_stand_between() -> tuple[list[str], list[str]]:
    """What awaits petra the newest first, and what is pending for her role but not hers to decide."""
    first, second = requested(), agreed(requested(required_approvals=2))
    on_behalf = replace(somebody("agnes"), on_behalf_of=somebody("petra").identity)
    barred = [
        requested(by=somebody("petra")),
        requested(by=on_behalf),
        requested(held(by=somebody("petra"))[0]),
        agreed(requested(required_approvals=2), by=approver("petra")),
        overdue(),
    ]
    for settled in (agreed, rejected, withdrawn):
        settled()
    requested(approver_role="legal")
    return [str(second.pk), str(first.pk)], [str(approval.pk) for approval in barred]


def test_the_inbox_has_what_the_api_has() -> None:
    awaits, barred = everything_that_can_stand_between()
    api = Api(token("petra", "approver", "manager"))
    told = [one["approval_id"] for one in api.get("/approvals?assignee=me&status=pending").json()["approvals"]]
    browser = petra()
    assert found(browser, "assignee=me") == found(browser, "assignee=me&status__exact=pending") == told == awaits
    assert set(barred) < set(found(browser, "status__exact=pending"))


def test_the_inbox_of_somebody_whom_nothing_bars_is_what_the_view_has_for_the_role() -> None:
    requested()
    agreed(requested(required_approvals=2))
    requested(active())
    for closed in (overdue, agreed, rejected, withdrawn):
        closed()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id::text FROM pending_approvals WHERE approver_role = 'manager' ORDER BY created_at DESC"
        )
        view = [pk for (pk,) in cursor.fetchall()]
    assert len(view) == 3
    assert found(petra(), "assignee=me") == view


@pytest.mark.parametrize("roles", [("operator",), ("auditor",), ("operator", "auditor", "agent")])
def test_nothing_awaits_those_who_are_no_approvers(roles: tuple[str, ...]) -> None:
    approval, browser = requested(), petra(*roles)
    assert found(browser, "") == [str(approval.pk)]
    assert found(browser, "assignee=me") == []


def test_nobody_looks_into_the_inbox_of_another() -> None:
    answer = petra().get(f"{APPROVALS}?assignee=mona")
    assert answer.status_code == 400
    assert "assignee: It must be me." in text(answer)


def test_takes_a_count_and_a_page() -> None:
    browser = petra()
    for _ in range(3):
        requested()
    query_of_all = "assignee=me&status__exact=pending&approver_role=manager&q=manager"
    for query in ("", "assignee=me", query_of_all, "p=7", "all="):
        with statements(*LIST):
            assert len(found(browser, query)) == 3, query
    with statements(*LIST[:3]):
        assert found(browser, "approver_role=none") == []


def test_nothing_is_done_with_many() -> None:
    approval, browser = requested(), petra("approver", "operator")
    page = browser.get(APPROVALS).content.decode()
    assert 'name="action"' not in page
    assert "_selected_action" not in page
    with unchanged(approval.pk, type(approval)):
        for action in ("approve", "reject", "cancel", "delete_selected"):
            browser.tick(APPROVALS, action, approval.pk, comments="all of them", post="yes")


def test_the_overview_says_how_many_await_somebody_and_leads_to_them() -> None:
    browser = petra()
    assert "No approval awaits your decision." in text(browser.get("/admin/"))
    assert INBOX not in browser.get("/admin/").content.decode()
    everything_that_can_stand_between()
    page = browser.get("/admin/")
    assert "2 approvals await your decision." in text(page)
    assert f'href="{INBOX}"' in page.content.decode()


def test_the_overview_counts_one_and_no_further_than_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    browser, _one = petra(), requested()
    with statements("django_session", "people_person", "approvals"):
        assert "One approval awaits your decision." in text(browser.get("/admin/"))
    monkeypatch.setattr(overview, "MOST", 2)
    for _ in range(2):
        requested()
    assert "2 or more approvals await your decision." in text(browser.get("/admin/"))


@pytest.mark.parametrize("roles", [("operator",), ("auditor", "agent")])
def test_the_overview_tells_nothing_of_it_to_those_who_decide_nothing(roles: tuple[str, ...]) -> None:
    requested()
    browser = petra(*roles)
    with statements("django_session", "people_person"):
        assert "decision" not in text(browser.get("/admin/"))
