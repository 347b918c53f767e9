"""What people might try to decide their own matter, in every capacity in which they had to do with it.

Bella is an agent and an approver. In each case something makes the request her own matter. She is refused by the API,
is offered nothing, and is refused in plain SQL; so is an identity that is linked with hers.
"""

from collections.abc import Callable
from functools import partial

import pytest
from psycopg.errors import IntegrityConstraintViolation

from orchestrator import boundary
from orchestrator.actors import Actor
from sessions_app.models import Approval, Task
from sessions_app.transitions import lease
from tests.api import Api, token
from tests.sessions_app import task_states
from tests.sessions_app.agreement_calls import (
    SUBJECTS,
    Asking,
    ask_again,
    each_subject,
    link,
    operator_actor,
    released,
    retry,
)
from tests.sessions_app.approval_calls import (
    ACTION,
    agent_for,
    agree,
    ask,
    ask_at_creation,
    ask_for_action,
    manager,
    nothing_but_refused,
    now,
    problem_of,
    question,
    refuse,
    task_of,
    where,
    withdraw,
)
from tests.sessions_app.approval_sql import Beside, refused, say
from tests.sessions_app.session_calls import session_in, somebody
from tests.sessions_app.task_calls import lapse

pytestmark = pytest.mark.django_db(transaction=True)

BELLA, FOR_BELLA = somebody("bella"), agent_for("bella")
REASON = "There are new facts."


def held_before(by: Actor, task: Task | None = None) -> Task:
    """A task that an actor held and handed back."""
    held, lease_token = task_states.held(task, by=by)
    return released(held, lease_token, by=by)


def failed_by(by: Actor, task: Task) -> Task:
    """A task that an actor held and failed."""
    held, lease_token = task_states.held(task, by=by)
    failing = partial(lease.fail, held, token=lease_token, error=task_states.ERROR, retryable=False, actor=by)
    return boundary.write(failing)


def the_request_of(task: Task) -> Approval:
    """The one open request about a task."""
    return Approval.objects.get(task=task, status="pending")


def retried(approval: Approval, times: int) -> Approval:
    """The request that is made again after a rejection and a retry, so many times."""
    for _ in range(times):
        task = task_of(refuse(approval, "max"))
        approval = the_request_of(retry(task))
    return approval


def retried_after_failures(by: Actor, times: int) -> Approval:
    """The request of a retry, so many retries after a task that an actor held and failed."""
    task, (approval,) = ask_at_creation(question())
    for count in range(times):
        agree(approval, "max")
        task = retry(failed_by(by if count == 0 else somebody("finn"), task))
        approval = the_request_of(task)
    return approval


def lapsed_before() -> Approval:
    """About a task whose lease of bella's ran out."""
    task, _ = task_states.held(by=BELLA)
    lapse(task)
    return ask(task)


def requested_by_her(name: str) -> Approval:
    """A request of bella's; in a session it is alice's."""
    return ask_for_action(session=session_in("active"), by=BELLA) if name == "session" else SUBJECTS[name](by=BELLA)


def reopened(name: str) -> Approval:
    """A request of bella's that was rejected, and that an operator reopened."""
    rejected = refuse(requested_by_her(name))
    return ask_again(rejected, by=operator_actor(), reopens=rejected.pk, reason=REASON)


def replaced(name: str) -> Approval:
    """A request of bella's that an operator replaced."""
    first = requested_by_her(name)
    return ask_again(first, by=operator_actor(), replaces=first.pk, reason=REASON)


def requested_before(name: str) -> Approval:
    """A request of bella's that she withdrew, and that alice made again."""
    first = withdraw(requested_by_her(name), by=BELLA)
    return ask_again(first)


OWN: dict[str, tuple[Callable[[], Approval], str]] = {
    "created": (lambda: ask(task_states.active(task_states.pending(by=BELLA))), "creator"),
    "created for her": (lambda: ask(task_states.active(task_states.pending(by=FOR_BELLA))), "created-for"),
    "holds": (lambda: ask(task_states.held(by=BELLA)[0]), "holder"),
    "is held for her": (lambda: ask(task_states.held(by=FOR_BELLA)[0]), "held-for"),
    "held before, pending": (lambda: ask(held_before(BELLA)), "former-holder"),
    "held before, held by another": (lambda: ask(task_states.active(held_before(BELLA))), "former-holder"),
    "was held for her before": (lambda: ask(task_states.active(held_before(FOR_BELLA))), "former-holder"),
    "held until the lease ran out": (lapsed_before, "former-holder"),
    "requested before the retry": (lambda: retried(ask(by=BELLA), 1), "earlier-requester"),
    "requested for her before the retry": (lambda: retried(ask(by=FOR_BELLA), 1), "earlier-requester"),
    "requested two retries before": (lambda: retried(ask(by=BELLA), 2), "earlier-requester"),
    "created before the retry": (lambda: retried(ask_at_creation(question(), by=BELLA)[1][0], 1), "creator"),
    "created two retries before": (lambda: retried(ask_at_creation(question(), by=BELLA)[1][0], 2), "creator"),
    "held before the retry": (lambda: retried_after_failures(BELLA, 1), "former-holder"),
    "was held for her before the retry": (lambda: retried_after_failures(FOR_BELLA, 1), "former-holder"),
    "held two retries before": (lambda: retried_after_failures(BELLA, 2), "former-holder"),
    "requested": (lambda: ask_for_action(by=BELLA), "requester"),
    "requested for her": (lambda: ask_for_action(by=FOR_BELLA), "requested-for"),
    "in her session": (lambda: ask_for_action(session=session_in("active", BELLA)), "session-creator"),
    "in a session opened for her": (
        lambda: ask_for_action(session=session_in("active", FOR_BELLA)),
        "session-creator",
    ),
    **{f"reopened, of a {name}": (partial(reopened, name), "earlier-requester") for name in SUBJECTS},
    **{f"replaced, of a {name}": (partial(replaced, name), "earlier-requester") for name in SUBJECTS},
    "requested the same of the task": (partial(requested_before, "task"), "earlier-requester"),
    "requested the same in the session": (partial(requested_before, "session"), "earlier-requester"),
}


@pytest.mark.parametrize("name", ["bella", "b.anders"])
@pytest.mark.parametrize(("make", "why"), OWN.values(), ids=OWN)
def test_a_person_does_not_decide_their_own_matter(
    beside: Beside, make: Callable[[], Approval], why: str, name: str
) -> None:
    approval = make()
    if name != "bella":
        link(name, "bella")
    bella = Api(token(name, "agent,approver,auditor,operator", "finance,manager"))
    offered = bella.get("/approvals?assignee=me").json()["approvals"]
    assert [one["approval_id"] for one in offered] == []
    for verb, decision in (("approve", "approved"), ("reject", "rejected")):
        with nothing_but_refused((name, verb, "separation-of-duties")):
            problem_of(bella.post(where(approval, verb), {}), 403, "separation-of-duties")
        with refused(beside, IntegrityConstraintViolation, f"separation of duties ({why})"):
            say(beside, approval, name, decision=decision)


@pytest.mark.parametrize(("make", "why"), OWN.values(), ids=OWN)
def test_a_person_who_had_nothing_to_do_with_it_decides(make: Callable[[], Approval], why: str) -> None:
    approval = make()
    offered = manager("nora").get("/approvals?assignee=me").json()["approvals"]
    assert [one["approval_id"] for one in offered] == [str(approval.pk)]
    assert manager("nora").post(where(approval, "approve"), {}).json()["status"] == "approved"


def test_an_agent_of_the_same_role_that_never_held_the_task_decides() -> None:
    """To be of the role that could do the work is no part in the matter."""
    approval = ask(task_states.active())
    bella = Api(token("bella", "agent,approver", "finance,manager"))
    assert bella.post(where(approval, "approve"), {}).json()["status"] == "approved"


def test_a_link_is_one_of_its_tenant() -> None:
    link("bella", "petra")
    approval = ask_for_action(by=somebody("petra", tenant="acme"))
    assert manager("bella", tenant="acme").post(where(approval, "approve"), {}).status_code == 200


# One person counts once: within a request, and over all that one task waits for.


def both_roles(name: str = "mc") -> Api:
    """An approver of the managers and of the finance directors."""
    return Api(token(name, "approver", "manager,cfo"))


COUNTED = "a decision of this person counts already, on"
ASKED = {
    "two roles": ("manager", "cfo"),
    "one role twice": ("manager", "manager"),
}


@pytest.mark.parametrize("roles", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("name", ["mc", "m.castro"])
def test_one_person_answers_one_of_the_requests_that_a_task_waits_for(
    beside: Beside, roles: tuple[str, str], name: str
) -> None:
    link("m.castro", "mc")
    _, (first, second) = ask_at_creation(*map(question, roles))
    assert both_roles().post(where(first, "approve"), {}).json()["status"] == "approved"
    again = both_roles(name)
    with nothing_but_refused((name, "approve", "already-decided")):
        answer = again.post(where(second, "approve"), {})
    assert str(first.pk) in problem_of(answer, 409, "already-decided")["detail"]
    assert again.get("/approvals?assignee=me").json()["approvals"] == []
    with refused(beside, IntegrityConstraintViolation, f"{COUNTED} {first.pk}"):
        say(beside, second, name)
    assert both_roles("nora").post(where(second, "approve"), {}).json()["status"] == "approved"
    assert Task.objects.get(pk=first.task_id or "").status == "pending"


def test_a_person_who_approved_one_may_still_reject_the_other() -> None:
    _, (first, second) = ask_at_creation(question(), question("cfo"))
    both_roles().post(where(first, "approve"), {})
    assert both_roles().post(where(second, "reject"), {}).json()["status"] == "rejected"
    assert Task.objects.get(pk=first.task_id or "").status == "failed"


def test_it_is_so_for_a_request_that_was_added_too() -> None:
    _, (first,) = ask_at_creation(question(required_approvals=2))
    added = ask(Task.objects.get(pk=first.task_id or ""), approver_role="cfo")
    both_roles().post(where(first, "approve"), {})
    with nothing_but_refused(("mc", "approve", "already-decided")):
        problem_of(both_roles().post(where(added, "approve"), {}), 409, "already-decided")


def test_an_approval_that_was_withdrawn_leaves_the_person_free_for_the_other() -> None:
    _, (first, second) = ask_at_creation(question(required_approvals=2), question("cfo"))
    both_roles().post(where(first, "approve"), {})
    assert both_roles().post(where(first, "withdraw"), {}).status_code == 200
    assert both_roles().post(where(second, "approve"), {}).json()["status"] == "approved"


@each_subject
@pytest.mark.parametrize("name", ["petra", "p.anders"])
def test_one_person_counts_once_within_a_request(beside: Beside, asking: Asking, name: str) -> None:
    link("p.anders", "petra")
    approval = agree(asking(required_approvals=2))
    for verb, decision in (("approve", "approved"), ("reject", "rejected")):
        with nothing_but_refused((name, verb, "already-decided")):
            problem_of(manager(name).post(where(approval, verb), {}), 409, "already-decided")
        with refused(beside, IntegrityConstraintViolation, f"{COUNTED} {approval.pk}"):
            say(beside, approval, name, decision=decision)
    assert manager(name).get("/approvals?assignee=me").json()["approvals"] == []
    assert (now(approval).granted, now(approval).status) == (1, "pending")


def test_the_same_person_may_approve_the_same_for_another_subject_and_another_for_the_same() -> None:
    for asking in SUBJECTS.values():
        first = agree(asking())
        assert agree(asking(by=somebody("alan"))).status == "approved"
        assert agree(ask_again(first, action={**ACTION, "amount": 1})).status == "approved"


# Linked afterwards.


def set_aside(approval: Approval) -> dict[str, str | None]:
    """Why the decision of each person does not count."""
    return dict(approval.decisions.order_by("decided_at").values_list("decider_subject", "set_aside_reason"))


@each_subject
def test_a_link_sets_aside_what_would_count_twice(asking: Asking) -> None:
    approval = agree(asking(required_approvals=3), "petra", "p.anders")
    link("p.anders", "petra")
    assert (now(approval).granted, now(approval).status) == (1, "pending")
    assert set_aside(approval) == {"petra": None, "p.anders": "same-person"}
    agree(approval, "max")
    assert now(approval).status == "pending"
    assert agree(approval, "nora").status == "approved"


@each_subject
def test_a_link_sets_aside_what_is_then_the_person_s_own_matter(asking: Asking) -> None:
    approval = agree(asking(by=BELLA, required_approvals=2), "b.anders")
    link("b.anders", "bella")
    assert (now(approval).granted, set_aside(approval)) == (0, {"b.anders": "same-person"})


def test_a_link_sets_aside_what_would_count_on_two_requests_of_one_task() -> None:
    _, (first, second) = ask_at_creation(question(), question("cfo", required_approvals=2))
    agree(first, "petra")
    agree(second, "p.anders")
    link("p.anders", "petra")
    assert (now(first).status, now(second).granted) == ("approved", 0)
    assert set_aside(second) == {"p.anders": "same-person"}


def test_a_link_leaves_what_is_settled_as_it_was() -> None:
    approval = agree(ask(required_approvals=2), "petra", "p.anders")
    link("p.anders", "petra")
    assert (now(approval).status, now(approval).granted) == ("approved", 2)
    assert set_aside(approval) == {"petra": None, "p.anders": None}
