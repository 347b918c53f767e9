"""The admin's list of tasks."""

from dataclasses import replace

import pytest

from orchestrator.actors import Actor, Origin, Via
from orchestrator.people.models import Person
from tests.admin import TASKS, Browser, ids, person, statements, text
from tests.sessions_app.session_calls import somebody
from tests.sessions_app.task_states import active, cancelled, completed, failed, lapsed, manager, pending

pytestmark = pytest.mark.django_db(transaction=True)

LIST = ("django_session", "people_person", "tasks", "tasks")


def found(query: str) -> list[str]:
    return ids(Browser(Person.objects.first() or person()).get(f"{TASKS}?{query}"))


def of_trace(trace_id: str) -> Actor:
    """The manager, with a trace that their call named."""
    return replace(manager(), origin=Origin(Via.API, trace_id=trace_id))


def test_shows_tasks_with_their_state_the_newest_first() -> None:
    tasks = [pending(), active(), completed(), failed(), cancelled()]
    page = Browser(person()).get(TASKS)
    assert ids(page) == [str(task.pk) for task in reversed(tasks)]
    assert "5 tasks" in text(page)
    for state in ("pending", "active", "completed", "failed", "cancelled"):
        assert state in text(page)


def test_shows_what_a_task_is_and_who_holds_it() -> None:
    task = active(pending(task_type="invoices", to_role="finance", priority=8, max_attempts=4))
    row = f"{task.pk} invoices manager → finance active 8 1/4 local|finn {task.created_at:%Y-%m-%d %H:%M:%S}"
    assert row in text(Browser(person()).get(TASKS))


def test_says_whose_lease_is_over() -> None:
    active()
    browser = Browser(person())
    assert "local|finn (over)" not in text(browser.get(TASKS))
    lapsed()
    assert "local|finn (over)" in text(browser.get(TASKS))


def test_shows_the_persons_tenant_alone() -> None:
    mine, _foreign = pending(), pending(by=manager("acme"))
    assert found("") == [str(mine.pk)]


@pytest.mark.parametrize("role", ["auditor", "operator"])
def test_shows_all_to_auditors_and_operators(role: str) -> None:
    tasks = [pending(to_role="legal"), pending(to_role="finance")]
    assert ids(Browser(person(roles=(role,))).get(TASKS)) == [str(task.pk) for task in reversed(tasks)]


def test_shows_agents_what_is_for_their_roles_or_their_own_and_approvers_nothing() -> None:
    seen, own = pending(to_role="legal"), pending(by=somebody("petra"))
    pending(to_role="finance")
    approver = person("petra", roles=("approver",), agent_roles=("legal",))
    assert ids(Browser(approver).get(TASKS)) == []
    approver.roles = ["approver", "agent"]
    approver.save()
    assert ids(Browser(approver).get(TASKS)) == [str(own.pk), str(seen.pk)]


def test_filters_by_status_roles_type_and_time() -> None:
    held, routed = active(), pending(to_role="legal", from_role="board", task_type="notification")
    assert found("status__exact=active") == [str(held.pk)]
    assert found("to_role=legal") == found("from_role=board") == found("task_type=notification") == [str(routed.pk)]
    assert found("to_role=+legal+&status__exact=pending") == [str(routed.pk)]
    assert found("to_role=legal&from_role=manager") == []
    for part in ("to_role=lega", "from_role=boar", "task_type=notif"):
        assert found(part) == [], part
    assert found("created_at__gte=2000-01-01+00:00Z&created_at__lt=2001-01-01+00:00Z") == []


def test_finds_by_id_role_and_trace() -> None:
    task = pending(to_role="human resources", from_role="board", by=of_trace("trace-7"))
    pending()
    for term in (task.pk, str(task.pk).upper(), f"task-{task.pk}", "trace-7", "%22human+resources%22", "board"):
        assert found(f"q={term}") == [str(task.pk)], term
    assert found("q=board+trace-7") == [str(task.pk)]
    for term in (task.pk.hex, "human", "trace", f"session-{task.pk}", f"{task.pk}+finance"):
        assert found(f"q={term}") == [], term


def test_finds_by_a_trace_that_looks_like_an_id() -> None:
    first = pending()
    traced = pending(by=of_trace(str(first.pk)))
    assert found(f"q={first.pk}") == [str(traced.pk), str(first.pk)]


def test_knows_no_other_order_and_no_other_lookup() -> None:
    tasks = [str(pending().pk) for _ in range(3)]
    assert found("o=1") == found("o=-2.3") == tasks[::-1]
    for query in ("id__startswith=0", "data__contains={}", "tenant=acme", "sessions__role=a", "lease_token_hash=x"):
        assert Browser(person(query)).get(f"{TASKS}?{query}").status_code == 400, query


def test_takes_a_count_and_a_page() -> None:
    browser = Browser(person())
    for _ in range(3):
        active()
    for query in ("", "?q=finance", "?status__exact=active&to_role=finance&from_role=manager", "?p=7", "?all="):
        with statements(*LIST):
            assert len(ids(browser.get(TASKS + query))) == 3
    with statements(*LIST[:3]):
        assert ids(browser.get(f"{TASKS}?task_type=none")) == []


@pytest.mark.parametrize(
    ("roles", "offers"),
    [
        (("operator",), [True, True]),
        (("auditor", "agent"), [True, False]),
        (("auditor",), [False, False]),
        (("approver",), [False, False]),
    ],
)
def test_offers_what_can_be_done_with_many(roles: tuple[str, ...], offers: list[bool]) -> None:
    pending()
    shown = text(Browser(person(roles=roles, agent_roles=("finance",))).get(TASKS))
    words = ("Cancel the selected tasks", "Force-release the selected tasks")
    assert [word in shown for word in words] == offers
