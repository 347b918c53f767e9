"""GET /approvals?assignee=me: what awaits the caller's own decision, and the view of the database beside it."""

from collections.abc import Callable
from uuid import UUID

import pytest
from django.db import connection

from orchestrator import boundary
from orchestrator.actors import Kind
from sessions_app import inbox
from sessions_app.models import Approval
from tests.api import Api, errors, token
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import (
    PAST,
    SETTLED,
    agent_for,
    agree,
    approver,
    ask,
    asker,
    manager,
    where,
)
from tests.sessions_app.session_calls import somebody

pytestmark = pytest.mark.django_db(transaction=True)


def inbox_of(caller: Api, query: str = "status=pending") -> set[UUID]:
    answer = caller.get(f"/approvals?assignee=me&{query}")
    assert answer.status_code == 200, answer.content
    found = {UUID(approval["approval_id"]) for approval in answer.json()["approvals"]}
    assert answer.json()["total"] == len(found)
    return found


def in_the_view() -> set[UUID]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM pending_approvals")
        return {pk for (pk,) in cursor.fetchall()}


def held_by(subject: str) -> Approval:
    return ask(task_states.held(by=somebody(subject))[0])


def held_for(person: str) -> Approval:
    return ask(task_states.held(by=agent_for(person))[0])


def test_shows_what_is_open_and_of_the_callers_role() -> None:
    mine, of_the_board = ask(), ask(approver_role="board")
    settled = [make() for make in SETTLED.values()]
    assert inbox_of(manager()) == {mine.pk}
    assert inbox_of(Api(token("paul", "approver", "board"))) == {of_the_board.pk}
    assert inbox_of(Api(token("petra", "approver", "board,manager"))) == {mine.pk, of_the_board.pk}
    assert in_the_view() == {mine.pk, of_the_board.pk}
    assert len(settled) == 4


def test_the_view_has_what_is_in_somebodys_inbox() -> None:
    made = {ask().pk, held_by("max").pk, ask(by=agent_for("petra")).pk, agree(ask(required_approvals=2)).pk}
    late = ask(lasting=PAST)
    assert in_the_view() == made
    everybody = [inbox_of(manager(name)) for name in ("petra", "max", "nora")]
    assert set.union(*everybody) == made
    assert everybody[2] == made
    assert late.pk not in made


NOT_MINE: dict[str, Callable[[], Approval]] = {
    "asked by them": lambda: ask(by=somebody("petra")),
    "asked on their behalf": lambda: ask(by=agent_for("petra")),
    "of a task that they hold": lambda: held_by("petra"),
    "of a task that an agent holds on their behalf": lambda: held_for("petra"),
    "answered by them": lambda: agree(ask(required_approvals=2), "petra"),
    "past its time": lambda: ask(lasting=PAST),
    "of another role": lambda: ask(approver_role="board"),
    "of another tenant": lambda: ask(task_states.pending(by=task_states.manager("acme")), by=somebody(tenant="acme")),
    **{f"{state} already": make for state, make in SETTLED.items()},
}


@pytest.mark.parametrize("name", NOT_MINE)
def test_does_not_show_what_the_caller_could_not_decide(name: str) -> None:
    theirs, other = ask(), NOT_MINE[name]()
    assert inbox_of(manager(), "") == {theirs.pk}
    answer = manager().post(where(other, "approve"), {})
    assert answer.status_code in (403, 404, 409), answer.content
    assert manager().post(where(theirs, "approve"), {}).status_code == 200


def test_does_not_show_what_somebody_held_even_once_they_hold_it_no_more(operator: Api) -> None:
    approval = held_by("petra")
    assert inbox_of(manager()) == set()
    operator.post(f"/tasks/{approval.task_id}/force-release", {"reason": "too long"})
    assert inbox_of(manager()) == set()
    assert inbox_of(manager("max")) == {approval.pk}


@pytest.mark.parametrize("roles", ["agent", "operator", "auditor", "agent,auditor,operator"])
def test_is_empty_for_who_is_no_approver(roles: str) -> None:
    ask()
    assert inbox_of(Api(token("petra", roles, "manager"))) == set()


def test_is_empty_for_agents_and_service_accounts() -> None:
    ask()
    assert inbox_of(manager(service_account=True)) == set()
    assert inbox_of(asker("petra", roles="agent,approver", agent_roles="manager", act_subject="bot")) == set()


def test_a_person_with_every_role_sees_their_own_inbox_alone() -> None:
    mine, _, _ = ask(), ask(approver_role="board"), ask(by=somebody("petra"))
    assert inbox_of(Api(token("petra", "agent,approver,auditor,operator", "manager"))) == {mine.pk}


def test_only_what_is_pending_awaits_anybody() -> None:
    approval = ask()
    agree(ask())
    assert inbox_of(manager(), "") == {approval.pk}
    assert inbox_of(manager(), "status=approved") == set()


def test_the_other_filters_narrow_it_further() -> None:
    first, second = ask(), ask()
    assert inbox_of(manager(), f"task_id={second.task_id}") == {second.pk}
    assert inbox_of(manager(), "approver_role=board") == set()
    assert inbox_of(manager(), f"created_by=local|alice&task_id={first.task_id}") == {first.pk}


def test_a_cursor_is_its_owners_alone() -> None:
    for _ in range(3):
        ask()
    cursor = manager().get("/approvals?assignee=me&page_size=1&cursor=").json()["next_cursor"]
    assert manager().get(f"/approvals?assignee=me&page_size=1&cursor={cursor}").status_code == 200
    answer = manager("max").get(f"/approvals?assignee=me&page_size=1&cursor={cursor}")
    assert (answer.status_code, list(errors(answer))) == (400, ["cursor"])


def test_whoever_decides_next_finds_what_waits_for_a_second_word() -> None:
    approval = agree(ask(required_approvals=2), "petra")
    assert inbox_of(manager()) == set()
    assert inbox_of(manager("max")) == {approval.pk}


def test_is_the_same_for_the_transitions_as_for_the_api() -> None:
    approval = ask()
    found = boundary.read(lambda: list(inbox.awaiting(approver()).values_list("pk", flat=True)))
    assert found == [approval.pk]
    assert approver().kind is Kind.PERSON
    assert not inbox.awaiting(agent_for("petra")).exists()
