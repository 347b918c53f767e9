"""docs/approvals.md: each of its rules, by the API, in the inbox, and by raw SQL."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import connection
from psycopg.errors import IntegrityConstraintViolation

from orchestrator import boundary
from orchestrator.actors import Actor, Identity, Role
from sessions_app.models import Approval, Decision, Task
from sessions_app.transitions import approvals as transitions
from sessions_app.transitions import lease, person
from sessions_app.transitions import task as tasks
from tests import work
from tests.admin import person as known_person
from tests.api import Api, token
from tests.database import owner_connection
from tests.sessions_app.approval_calls import (
    ACTION,
    agent_for,
    agree,
    approver,
    ask,
    ask_at_creation,
    ask_for_action,
    asker,
    lapse_grant,
    manager,
    now,
    problem,
    problem_of,
    question,
    refuse,
    task_of,
    where,
    withdraw,
)
from tests.sessions_app.session_calls import session_in, somebody
from tests.sessions_app.task_calls import ERROR, MONA, claimed, pass_deadline, routed, stored

pytestmark = pytest.mark.django_db(transaction=True)

OLGA = somebody("olga")
OPERATOR = Actor(OLGA.identity, OLGA.tenant, OLGA.kind, OLGA.origin, roles=frozenset({Role.OPERATOR}))
both = pytest.mark.parametrize("make", [ask, ask_for_action], ids=["task", "action"])


def inbox(name: str) -> list[str]:
    """The ids of what awaits a manager."""
    return [row["approval_id"] for row in manager(name).get("/approvals?assignee=me").json()["approvals"]]


def insert_decision(approval: Approval, decider: str, decision: str = "approved") -> None:
    """INSERT a decision as the owner, in plain SQL."""
    columns = {"id": uuid4(), "approval_id": approval.pk, "decider_issuer": "local", "decider_subject": decider}
    about = {"decider_kind": "person", "decision": decision, "comments": "", "decided_at": "2026-01-01T00:00Z"}
    with owner_connection() as beside:
        work.insert(beside, "approval_decisions", {**columns, **about, "requester_issuer": "", "requester_subject": ""})


def insert_request(like: Approval) -> None:
    """INSERT an open request with the question of another one as the owner, in plain SQL."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM approvals WHERE id = %s", [like.pk])
        names = [column.name for column in cursor.description]
        row = dict(zip(names, cursor.fetchone() or (), strict=True))
    again = {"id": uuid4(), "status": "pending", "version": 1, "decision_at": None, "consumed_at": None, "granted": 0}
    columns = [name for name in row if name not in again]
    with owner_connection() as beside:
        beside.execute(
            f"INSERT INTO approvals ({', '.join([*again, *columns])}) SELECT {', '.join(['%s'] * len(again))},"
            f" {', '.join(columns)} FROM approvals WHERE id = %s",
            [*again.values(), like.pk],
        )


def refused_by_the_database(run: Callable[[], None], why: str) -> None:
    """Fails unless a trigger refuses it for this reason."""
    with pytest.raises(IntegrityConstraintViolation, match=why):
        run()


def link(name: str, same_as: str) -> None:
    identities = [Identity("local", one) for one in (name, same_as)]
    boundary.write(lambda: person.link(*identities, tenant="default", actor=OPERATOR, reason="The same person."))


def cut_off(name: str) -> None:
    boundary.write(lambda: person.cut_off(Identity("local", name), actor=OPERATOR, reason="Left."))


# Rule 4: not in one's own matter.


def _held_before(by: Actor) -> Approval:
    held = claimed(by=by)
    return ask(boundary.write(partial(lease.release, held.task, token=held.token, actor=by)))


def _created_for_petra() -> Approval:
    return ask(routed(by=agent_for("petra")))


def _of_a_task_repeated() -> Approval:
    """Petra created the task that failed. An operator retried it."""
    held = claimed(routed(by=somebody("petra")))
    failed = boundary.write(
        partial(lease.fail, held.task, token=held.token, error=ERROR, retryable=False, actor=somebody("finn"))
    )
    return ask(boundary.write(partial(tasks.retry, failed, actor=OPERATOR)))


def _requested_before_by_petra() -> Approval:
    task = routed()
    withdraw(ask(task, by=somebody("petra")), by=somebody("petra"))
    return ask(task)


def _by_a_linked_identity() -> Approval:
    link("petra", "p.meier")
    return ask(by=somebody("p.meier"))


OWN_MATTERS: dict[str, Callable[[], Approval]] = {
    "requester": lambda: ask(by=somebody("petra")),
    "requested for": lambda: ask(by=agent_for("petra")),
    "requester of an action": lambda: ask_for_action(by=somebody("petra")),
    "creator": lambda: ask(routed(by=somebody("petra"))),
    "created for": _created_for_petra,
    "creator of the session": lambda: ask_for_action(session=session_in("active", somebody("petra"))),
    "former holder": lambda: _held_before(somebody("petra")),
    "held before for": lambda: _held_before(agent_for("petra")),
    "creator of the task that it repeats": _of_a_task_repeated,
    "requester of the same before": _requested_before_by_petra,
    "linked with the requester": _by_a_linked_identity,
}


@pytest.mark.parametrize("name", OWN_MATTERS)
def test_a_person_does_not_decide_their_own_matter(name: str) -> None:
    approval = OWN_MATTERS[name]()
    assert str(approval.pk) not in inbox("petra")
    assert inbox("max") == [str(approval.pk)]
    for verb in ("approve", "reject"):
        assert problem(manager().post(where(approval, verb))) == (403, "separation-of-duties")
    refused_by_the_database(lambda: insert_decision(approval, "petra"), "separation of duties")
    assert now(agree(approval, "max")).status == "approved"


# Rule 5: one person counts once.


def test_one_person_counts_once_across_the_requests_that_a_task_waits_for() -> None:
    _, [first, second] = ask_at_creation(question("manager"), question("cfo"))
    petra = Api(token("petra", "approver", "manager,cfo"))
    assert petra.post(where(first, "approve")).status_code == 200
    assert petra.get("/approvals?assignee=me").json()["approvals"] == []
    assert problem(petra.post(where(second, "approve"))) == (409, "already-decided")
    refused_by_the_database(lambda: insert_decision(second, "petra"), "counts already")
    assert petra.post(where(second, "reject")).status_code == 200


def test_linked_identities_count_as_one_person() -> None:
    approval = agree(ask(required_approvals=2), "petra")
    link("p.meier", "petra")
    assert problem(manager("p.meier").post(where(approval, "approve"))) == (409, "already-decided")
    refused_by_the_database(lambda: insert_decision(approval, "p.meier"), "counts already")
    # Two approvals of one person that were made before are one from then on.
    other = agree(ask(required_approvals=3), "hans", "h.schmidt")
    link("h.schmidt", "hans")
    assert (now(other).granted, set_aside(other)) == (1, {"h.schmidt": "same-person"})


def set_aside(approval: Approval) -> dict[str, str | None]:
    rows = Decision.objects.filter(approval=approval).exclude(set_aside_at=None)
    return {row.decider_subject: row.set_aside_reason for row in rows}


# Rules 6 and 7: a rejection stands, and an action has one live request.


@both
def test_a_rejection_stands_until_an_operator_reopens_it(make: Callable[..., Approval]) -> None:
    task = claimed(by=somebody("alice")).task
    about = {"task": task} if make is ask else {}
    rejected = refuse(make(**about, action=ACTION), comments="Not this one.")
    body = {"approver_role": "manager", "action": ACTION, **({"task_id": str(task.pk)} if make is ask else {})}
    answer = problem_of(asker().post("/approvals", body), 409, "already-rejected")
    assert (answer["rejected"]["deciders"], answer["rejected"]["comments"]) == (["local|petra"], "Not this one.")
    refused_by_the_database(lambda: insert_request(rejected), "already-rejected")
    reopening = {**body, "reopens": str(rejected.pk), "reason": "The price fell."}
    assert asker().post("/approvals", reopening).status_code == 403
    assert Api(token("olga", "operator")).post("/approvals", {**body, "reopens": str(rejected.pk)}).status_code == 400
    reopened = Api(token("olga", "operator")).post("/approvals", reopening).json()
    assert [one["approval_id"] for one in reopened["earlier"]] == [str(rejected.pk)]
    assert problem(asker().post("/approvals", body)) == (409, "already-requested")


@both
def test_an_action_has_one_live_request(make: Callable[..., Approval]) -> None:
    first = make(action=ACTION)
    about = {"task_id": str(first.task_id)} if make is ask else {}
    for _ in range(2):
        answer = asker().post("/approvals", {**about, "approver_role": "board", "action": ACTION})
        assert problem_of(answer, 409, "already-requested")["approval_id"] == str(first.pk)
        refused_by_the_database(partial(insert_request, first), "already-requested")
        first = agree(first) if first.status == "pending" else first


def test_grants_of_several_roles_for_one_action_are_consumed_together() -> None:
    task, [first, second] = ask_at_creation(question("manager", action=ACTION), question("cfo", action=ACTION))
    agree(first, "petra")
    agree(second, "clara")
    assert claimed(stored(task), by=somebody("alice"))
    assert asker().post(where(first, "consume"), {"action": ACTION}).status_code == 200
    assert now(second).consumed_at == now(first).consumed_at


# Rule 8: cut-offs, and withdrawn approvals.


@both
def test_a_cut_off_sets_approvals_aside_and_cancels_requests(make: Callable[..., Approval]) -> None:
    decided, requested = agree(make(action=ACTION, required_approvals=2), "petra"), make(by=somebody("petra"))
    held = claimed(by=somebody("petra")).task
    cut_off("petra")
    assert (now(decided).granted, now(decided).status, set_aside(decided)) == (0, "pending", {"petra": "cut-off"})
    assert now(requested).status == "cancelled"
    assert stored(held).status == "pending"
    refused_by_the_database(lambda: insert_decision(decided, "petra"), "cut off")
    boundary.write(lambda: person.restore(Identity("local", "petra"), actor=OPERATOR, reason="Back."))
    assert (now(decided).granted, now(requested).status) == (0, "cancelled")
    assert now(agree(now(decided), "petra")).granted == 1


def test_a_settled_request_keeps_the_approval_of_a_person_who_is_cut_off() -> None:
    approval = agree(ask(action=ACTION), "petra")
    cut_off("petra")
    assert (now(approval).status, set_aside(approval)) == ("approved", {})


def test_a_cut_off_is_for_all_linked_identities() -> None:
    link("p.meier", "petra")
    approval = agree(ask(required_approvals=2), "p.meier")
    cut_off("petra")
    assert set_aside(approval) == {"p.meier": "cut-off"}


@both
def test_a_person_withdraws_their_own_approval_while_the_request_is_open(make: Callable[..., Approval]) -> None:
    approval = agree(make(required_approvals=2), "petra")
    assert problem(manager("max").post(where(approval, "withdraw"))) == (409, "no-decision")
    answer = manager().post(where(approval, "withdraw"), {"comments": "The offer has changed."})
    assert [one["set_aside_reason"] for one in answer.json()["decisions"]] == ["withdrawn"]
    assert inbox("petra") == [str(approval.pk)]
    settled = agree(now(approval), "petra", "max")
    assert problem(manager().post(where(settled, "withdraw"))) == (409, "illegal-transition")


# Rule 9: withdrawing a request.


def test_a_task_goes_on_without_an_added_request_that_was_cancelled() -> None:
    task, [required] = ask_at_creation(question())
    added = ask(task)
    agree(required)
    assert stored(task).status == "blocked"
    withdraw(added)
    assert stored(task).status == "pending"


def test_cancelling_a_required_request_needs_the_right_to_cancel_the_task() -> None:
    task, [required] = ask_at_creation(question())
    holder = Api(token("alice", agent_roles="finance"))
    assert holder.get(where(required)).status_code == 404
    withdraw(required, by=MONA)
    assert stored(task).status == "cancelled"


def test_an_operator_replaces_a_request_that_too_few_known_people_can_decide() -> None:
    operator, former = Api(token("olga", "operator")), ask(required_approvals=2, action=ACTION)
    known_person("petra", roles=("approver",), agent_roles=("manager",))
    body = {"task_id": str(former.task_id), "approver_role": "board", "replaces": str(former.pk), "reason": "Left."}
    assert operator.post("/approvals", body).status_code == 400  # a smaller quorum
    new = operator.post("/approvals", {**body, "required_approvals": 2}).json()
    assert (now(former).status, new["action_digest"]) == ("cancelled", bytes(former.action_digest or b"").hex())
    other = ask()
    body = {**body, "task_id": str(other.task_id), "replaces": str(other.pk)}
    assert problem(operator.post("/approvals", body)) == (409, "still-decidable")


def test_where_all_approvers_are_known_a_request_that_too_few_can_decide_is_refused(settings: Any) -> None:
    settings.APPROVER_DIRECTORY = "people"
    task = routed(by=somebody("alice"))
    body = {"task_id": str(task.pk), "approver_role": "manager"}
    answer = problem_of(asker().post("/approvals", body), 409, "no-approver")
    assert (answer["known"], answer["needed"]) == (0, 1)
    known_person("petra", roles=("approver",), agent_roles=("manager",))
    assert asker().post("/approvals", body).status_code == 201


# Rule 10: a grant has an end.


@both
def test_a_grant_lapses(make: Callable[..., Approval]) -> None:
    approval = agree(make(action=ACTION, use_within_seconds=60))
    lapse_grant(approval)
    assert problem(asker().post(where(approval, "consume"), {"action": ACTION})) == (409, "approval-lapsed")
    with owner_connection() as beside, pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="has lapsed"):
        beside.execute("UPDATE approvals SET consumed_at = now() WHERE id = %s", [approval.pk])


def test_nothing_is_approved_past_the_deadline_of_the_task() -> None:
    approval = ask()
    pass_deadline(task_of(approval))
    assert inbox("petra") == []
    assert problem(manager().post(where(approval, "approve"))) == (409, "deadline-exceeded")
    refused_by_the_database(lambda: insert_decision(approval, "petra"), "past its deadline")


# An action without a task, and what is kept.


def test_an_action_in_a_session_ends_with_the_session() -> None:
    session = session_in("active")
    approval = ask_for_action(session=session)
    assert asker().put(f"/sessions/{session.pk}", {"status": "completed"}).status_code == 200
    assert now(approval).status == "cancelled"


def test_an_action_without_a_task_is_consumed_by_its_requester_alone() -> None:
    approval = agree(ask_for_action())
    assert Task.objects.count() == 0
    for other in (Api(token("olga", "operator")), asker("bob"), asker("alice", act_subject="bot")):
        assert other.post(where(approval, "consume"), {"action": ACTION}).status_code in (403, 404)
    assert asker().post(where(approval, "consume"), {"action": ACTION}).status_code == 200


def test_what_people_decided_about_is_kept_for_its_time(settings: Any) -> None:
    task, olga = task_of(refuse(ask())), Api(token("olga", "operator"))
    assert olga.send("DELETE", f"/tasks/{task.pk}").status_code == 400
    assert problem(olga.send("DELETE", f"/tasks/{task.pk}?reason=so")) == (409, "retained")
    settings.APPROVAL_RETENTION_DAYS = 0
    assert olga.send("DELETE", f"/tasks/{task.pk}?reason=so").status_code == 204


def test_a_deletion_needs_a_second_person_where_the_service_says_so(settings: Any) -> None:
    settings.DELETE_NEEDS_SECOND_PERSON = True
    session, olga = session_in("completed"), Api(token("olga", "operator"))
    delete = f"/sessions/{session.pk}?reason=so"
    waiting = olga.send("DELETE", delete)
    assert (waiting.status_code, olga.send("DELETE", delete).json()) == (202, waiting.json())
    request = Approval.objects.get(pk=waiting.json()["approval_id"])
    assert problem(Api(token("olga", "approver", "operator")).post(where(request, "approve")))[0] == 403
    boundary.write(lambda: transitions.approve(request, actor=approver("otto", role="operator")))
    assert olga.send("DELETE", delete).status_code == 204
    assert now(request).consumed_at is not None


@pytest.mark.parametrize("successor", ["reopens", "replaces"])
def test_a_deletion_goes_by_the_request_that_followed_the_first_one(settings: Any, successor: str) -> None:
    settings.DELETE_NEEDS_SECOND_PERSON = True
    session, olga = session_in("completed"), Api(token("olga", "operator"))
    delete = f"/sessions/{session.pk}?reason=so"
    request = Approval.objects.get(pk=olga.send("DELETE", delete).json()["approval_id"])
    if successor == "reopens":
        refuse(request, "otto")
        assert problem(olga.send("DELETE", delete)) == (409, "already-rejected")
    body = {"approver_role": "operator", "action": request.action, successor: str(request.pk), "reason": "Once more."}
    new = Api(token("oskar", "operator")).post("/approvals", body).json()
    assert olga.send("DELETE", delete).json()["approval_id"] == new["approval_id"]
    agree(Approval.objects.get(pk=new["approval_id"]), "otto")
    assert olga.send("DELETE", delete).status_code == 204
