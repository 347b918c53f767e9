"""`client.approved` and `work.agreement` on the service itself: one request, one grant, one act."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Event, Thread
from typing import Any

import httpx
import pytest
from django.db import connections

from agent_mesh.agreement import NotApproved
from agent_mesh.client import Client
from agent_mesh.problems import Refused, Unreachable
from agent_mesh.work import NotAgreed, Work
from agent_mesh.worker import Worker
from orchestrator import boundary
from sessions_app.models import Approval, Session, Task
from sessions_app.transitions import approvals as transitions
from tests.agent_mesh.in_process import Meddle, Wire, client, lost, problem
from tests.api import Api, token
from tests.sessions_app.approval_calls import (
    ACTION,
    SHORT,
    agree,
    ask,
    ask_at_creation,
    manager,
    question,
    refuse,
    withdraw,
)
from tests.sessions_app.session_calls import session_in, somebody
from tests.sessions_app.task_calls import routed, stored

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 20.0


def requested(session: Session | None = None, **asked: Any) -> Approval:
    """Return a request of alice's about the action, without a task."""
    wanted = question(**{"action": ACTION, **asked})
    return boundary.write(lambda: transitions.request_action(session, wanted, actor=somebody()))


@contextmanager
def answering(verb: str = "approve", body: Any = None) -> Iterator[None]:
    """Let petra, a manager, answer the first open request while the block runs."""

    def answer() -> None:
        pause = Event()
        try:
            while (open_one := Approval.objects.filter(status="pending").first()) is None:
                pause.wait(0.02)
            assert manager().post(f"/approvals/{open_one.pk}/{verb}", body).status_code == 200
        finally:
            connections.close_all()

    petra = Thread(target=answer)
    petra.start()
    try:
        yield
    finally:
        petra.join(PATIENCE)


def acts(by: Client, action: Any = ACTION, **terms: Any) -> dict[str, Any]:
    """Return the consumed approval with which the block ran."""
    with by.approved(action, **{"approver_role": "manager", "timeout_seconds": PATIENCE, **terms}) as grant:
        assert grant["consumed_at"] is not None
    return {**grant}


def refused_to(by: Client, **terms: Any) -> NotApproved:
    """Return why the block did not run."""
    known = {"approver_role": "manager", "timeout_seconds": 0, **terms}
    with pytest.raises(NotApproved) as why, by.approved(ACTION, **known):
        pytest.fail("It ran.")
    return why.value


def posts(wire: Wire, end: str) -> list[httpx.Request]:
    return [request for request in wire.sent if request.method == "POST" and request.url.path.endswith(end)]


def on(end: str, *meddlers: Meddle) -> list[Meddle]:
    """Meet each call whose path ends so with the next of these."""
    left = list(meddlers)

    def meet(request: httpx.Request) -> Exception | httpx.Response | None:
        is_met = request.url.path.endswith(end) or ("wait" in request.url.params and end == "wait")
        return left.pop(0)(request) if is_met and left else None

    return [meet] * 1000


def doing(act: Callable[[], object]) -> Meddle:
    """Serve the call after this."""

    def first(_request: httpx.Request) -> None:
        act()

    return first


def killed(_request: httpx.Request) -> None:
    raise KeyboardInterrupt


def test_the_block_runs_once_people_agreed_to_exactly_its_action() -> None:
    with answering():
        grant = acts(client(), reason="Above the limit.", use_within_seconds=600)
    approval = Approval.objects.get()
    assert (grant["kind"], grant["task_id"], grant["action"]) == ("action", None, ACTION)
    assert (approval.action, approval.reason, approval.use_within_seconds) == (ACTION, "Above the limit.", 600)
    assert approval.consumed_at is not None
    assert not Task.objects.exists()


def test_a_rejection_says_who_and_why_and_stands() -> None:
    with answering("reject", {"comments": "Too dear."}):
        first = refused_to(client(), timeout_seconds=PATIENCE)
    again = refused_to(client())
    approval = Approval.objects.get()
    for why in (first, again):
        assert (why.outcome, why.approval_id) == ("rejected", str(approval.pk))
        assert f"{approval.pk} is rejected by local|petra: Too dear." in str(why)
        assert why.approval is not None
        assert why.approval["status"] == "rejected"


def test_after_a_timeout_the_next_call_finds_the_open_request() -> None:
    why = refused_to(client(), timeout_seconds=1)
    approval = Approval.objects.get()
    assert (why.outcome, why.approval_id, approval.status) == ("pending", str(approval.pk), "pending")
    agree(approval)
    assert acts(client(), timeout_seconds=0)["approval_id"] == str(approval.pk)
    assert Approval.objects.count() == 1


def test_a_waiter_that_was_killed_goes_on_with_the_same_request() -> None:
    wire = Wire(before=on("wait", killed))
    with pytest.raises(KeyboardInterrupt):
        acts(client(wire=wire))
    with answering():
        grant = acts(client())
    assert grant["approval_id"] == str(Approval.objects.get().pk)


def test_a_waiter_that_is_killed_once_it_is_granted_uses_that_grant() -> None:
    agree(requested())
    with pytest.raises(KeyboardInterrupt):
        acts(client(wire=Wire(before=on("/consume", killed))))
    assert acts(client())["approval_id"] == str(Approval.objects.get().pk)


def test_of_two_threads_that_wait_for_one_grant_one_acts() -> None:
    alice = client()

    def attempt() -> str:
        try:
            acts(alice)
        except NotApproved as why:
            return why.outcome
        return "acted"

    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(attempt) for _ in range(2)]
        with answering():
            pass
        outcomes = sorted(one.result(PATIENCE) for one in waiting)
    assert outcomes == ["acted", "consumed"]
    assert Approval.objects.count() == 1


def test_a_grant_is_used_once_and_the_next_act_needs_another_request() -> None:
    agree(requested())
    used = acts(client())["approval_id"]
    why = refused_to(client())
    assert (why.outcome, Approval.objects.count()) == ("pending", 2)
    assert why.approval is not None
    assert why.approval_id != used
    assert [one["approval_id"] for one in why.approval["earlier"]] == [used]


def test_a_request_that_is_cancelled_or_expires_ends_the_wait() -> None:
    requested(lasting=SHORT)
    assert refused_to(client(), timeout_seconds=PATIENCE).outcome == "expired"
    approval = requested()
    wire = Wire(before=on("wait", doing(lambda: withdraw(approval))))
    why = refused_to(client(wire=wire), timeout_seconds=PATIENCE)
    assert (why.outcome, str(why)) == ("cancelled", f"Approval {approval.pk} is cancelled.")


def test_a_grant_that_lapses_is_requested_again_once() -> None:
    agree(requested())
    lapsed = problem(409, "approval-lapsed")
    wire = Wire(before=on("/consume", lapsed))
    acts(client(wire=wire))
    assert (len(posts(wire, "/approvals")), len(posts(wire, "/consume"))) == (2, 2)
    agree(requested())
    assert refused_to(client(wire=Wire(before=on("/consume", lapsed, lapsed)))).outcome == "lapsed"


@pytest.mark.parametrize("asked", [{"role": "cfo"}, {"required_approvals": 1}])
def test_a_request_to_others_or_to_fewer_people_is_not_taken_for_this_one(asked: dict[str, Any]) -> None:
    approval = requested(**asked)
    why = refused_to(client(), required_approvals=2)
    assert (why.outcome, why.approval_id) == ("already-requested", str(approval.pk))
    assert Approval.objects.count() == 1


def test_a_request_of_another_agent_in_the_session_is_not_taken_for_ones_own() -> None:
    session = session_in("active")
    approval = requested(session)
    why = refused_to(client(token("finn")), session_id=session.pk)
    assert (why.outcome, why.approval_id, why.approval) == ("already-requested", str(approval.pk), None)


def test_a_session_holds_the_request_and_ends_it() -> None:
    alice = client()
    session = alice.sessions.open("finance")["session_id"]
    assert refused_to(alice, session_id=session).outcome == "pending"
    alice.sessions.update(session, status="active")
    alice.sessions.update(session, status="completed")
    assert Approval.objects.get().status == "cancelled"


def operator() -> Api:
    return Api(token("olga", roles="operator", agent_roles=""))


def test_the_requester_finds_and_uses_what_an_operator_opened_again() -> None:
    rejected = refuse(requested())
    body = {"approver_role": "manager", "action": ACTION, "reopens": str(rejected.pk), "reason": "New offer."}
    assert operator().post("/approvals", body).status_code == 201
    agree(Approval.objects.get(status="pending"))
    grant = acts(client())
    assert (grant["reopens"], grant["consumed_at"] is not None) == (str(rejected.pk), True)


def test_the_requester_waits_for_the_request_that_replaces_theirs() -> None:
    approval = requested(role="cfo")

    def replace(_request: httpx.Request) -> None:
        body = {"approver_role": "manager", "action": ACTION, "replaces": str(approval.pk), "reason": "No CFO."}
        assert operator().post("/approvals", body).status_code == 201

    with ThreadPoolExecutor(1) as pool:
        wire = Wire(before=on("wait", replace))
        waiting = pool.submit(partial(acts, client(wire=wire), approver_role="cfo"))
        while not Approval.objects.filter(replaces=approval).exists():
            Event().wait(0.02)
        with answering():
            assert waiting.result(PATIENCE)["replaces"] == str(approval.pk)
    # Also a call that begins after the replacement.
    agree(requested(role="cfo", action={"pay": 1}))


def test_a_service_that_is_away_for_a_while_costs_no_request_and_no_grant() -> None:
    agree(requested())
    wire = Wire(before=on("/consume", *[lost] * 4))
    acts(client(wire=wire))
    keys = {request.headers["Idempotency-Key"] for request in posts(wire, "/consume")}
    assert (len(posts(wire, "/consume")), len(keys)) == (5, 1)


def test_a_consumption_whose_answer_got_lost_is_one_and_the_block_runs() -> None:
    agree(requested())
    assert acts(client(wire=Wire(after=[lambda _: None, lambda _: None, lost])))["consumed_at"]


def test_other_refusals_are_the_services_own() -> None:
    with pytest.raises(Refused) as refusal:
        acts(client(token("ada", "auditor", "")))
    assert refusal.value.status == 403
    with (
        pytest.raises(Unreachable),
        client(wire=Wire(before=[lost] * 9)).approved(ACTION, approver_role="manager", timeout_seconds=0),
    ):
        pytest.fail("It ran.")


def test_what_is_asked_does_not_change_while_people_read_it() -> None:
    action = {"pay": "Hansen Tools", "lines": [1]}

    def change(_request: httpx.Request) -> None:
        action["lines"] = [2]
        agree(Approval.objects.get())

    assert acts(client(wire=Wire(before=on("wait", change))), action)["action"] == {"pay": "Hansen Tools", "lines": [1]}


# A worker's.


def finn(wire: Wire | None = None) -> Worker:
    return Worker(client(token("finn"), wire), lease_seconds=10, heartbeat_seconds=0.5, wait_seconds=0)


def purchase(work: Work) -> dict[str, Any]:
    return {"by": work.agreement("manager", ACTION)["decisions"][0]["decider"]}


def test_a_worker_that_is_started_again_finds_its_request() -> None:
    task = routed(task_type="purchase")
    first = finn(Wire(before=on("wait", killed)))
    first.handles("purchase")(purchase)
    with pytest.raises(KeyboardInterrupt):
        first.run_until_empty()
    assert stored(task).status == "pending"
    second = finn()
    second.handles("purchase")(purchase)
    with answering():
        assert second.run_until_empty() == 1
    assert (stored(task).status, stored(task).output) == ("completed", {"by": "local|petra"})
    assert Approval.objects.get().consumed_at is not None


def test_a_worker_uses_what_its_task_was_created_with_for_its_own_role() -> None:
    task, asked = ask_at_creation(question("manager", action=ACTION), question("cfo", action=ACTION))
    for approval, name in zip(asked, ("petra", "carl"), strict=True):
        agree(approval, name)
    worker, seen = finn(), list[str]()

    @worker.handles("routing")
    def act(work: Work) -> None:
        seen.append(work.agreement("manager", ACTION)["approver_role"])

    assert worker.run_until_empty() == 1
    assert (stored(task).status, seen) == ("completed", ["manager"])
    assert Approval.objects.exclude(consumed_at=None).count() == 2


@pytest.mark.parametrize(
    ("settle", "status", "code"),
    [
        (lambda: refuse(Approval.objects.get()), "failed", "approval-rejected"),
        (lambda: withdraw(Approval.objects.get(), by=somebody("finn")), "failed", "approval-cancelled"),
    ],
)
def test_an_agreement_that_is_not_given_fails_the_task(settle: Callable[[], Any], status: str, code: str) -> None:
    task = routed(task_type="purchase")
    worker = finn(Wire(before=on("wait", doing(settle))))
    worker.handles("purchase")(purchase)
    worker.run_until_empty()
    error = stored(task).error or {}
    assert (stored(task).status, error["code"]) == (status, code)
    assert str(Approval.objects.get().pk) in error["message"]
    assert NotAgreed is NotApproved


def test_a_handler_that_gives_up_waiting_has_another_attempt() -> None:
    task = routed(task_type="purchase")
    worker = finn()

    @worker.handles("purchase")
    def act(work: Work) -> None:
        with work.client.approved(ACTION, approver_role="manager", task_id=work.task["task_id"], timeout_seconds=0):
            pytest.fail("It ran.")

    worker.run_until_empty()
    assert (stored(task).status, stored(task).error or {}) == (
        "pending",
        {"code": "approval-pending", "message": str((stored(task).error or {}).get("message"))},
    )


def test_a_live_request_of_the_creator_is_used_by_the_holder() -> None:
    agree(ask(routed(task_type="purchase"), by=somebody("mona", agent_roles=("manager",)), action=ACTION))
    worker = finn()
    worker.handles("purchase")(purchase)
    assert worker.run_until_empty() == 1
    assert Approval.objects.get().consumed_at is not None
