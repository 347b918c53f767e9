"""The worker on the service itself: what becomes of a task under each way in which a handler may end."""

import json
import signal
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import httpx
import pytest
from django.db import connections

from agent_mesh import ending
from agent_mesh.agreement import NotApproved
from agent_mesh.problems import Refused, Unreachable
from agent_mesh.work import CannotDo, NotWanted, Work
from agent_mesh.worker import Worker
from audit_app.trail import instant
from sessions_app.models import Approval, Task
from tests.agent_mesh.in_process import Meddle, Wire, client, lost, problem, refused
from tests.api import Api, token
from tests.sessions_app.approval_calls import manager
from tests.sessions_app.task_calls import attempts, mona, routed, stored
from tests.sessions_app.task_calls import refused as refusals

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 20.0


def worker(wire: Wire | None = None, **options: Any) -> Worker:
    """Finn's, an agent of the role finance. Its signs of life come fast, so that a test is not long."""
    known = {"lease_seconds": 10, "heartbeat_seconds": 0.05, "wait_seconds": 0, "grace_seconds": PATIENCE}
    return Worker(client(token("finn"), wire), **{**known, **options})


def do(handler: Callable[[Work], Any], wire: Wire | None = None, **work: Any) -> Task:
    """Have one task of the type invoices done by a handler, and tell what became of it."""
    task = routed(task_type="invoices", **work)
    finn = worker(wire)
    finn.handles("invoices")(handler)
    assert finn.run_until_empty() == 1
    return stored(task)


def nothing(_work: Work) -> None:
    """It needs no doing."""


def operator() -> Api:
    return Api(token("olga", roles="operator", agent_roles=""))


def ask_of(caller: Api, path: str, body: Any = None) -> None:
    answer = caller.post(path, body)
    assert answer.status_code < 300, answer.content


def test_what_a_handler_returns_is_the_output() -> None:
    def check(work: Work) -> dict[str, Any]:
        return {"invoices": work.data["invoices"], "quarter": work.context["quarter"], "attempt": work.task["attempt"]}

    task = do(check, data={"invoices": 41}, context={"quarter": "Q4"})
    assert (task.status, task.output) == ("completed", {"invoices": 41, "quarter": "Q4", "attempt": 1})
    assert [attempt.outcome for attempt in attempts(task)] == ["completed"]


def test_a_handler_need_not_return_anything() -> None:
    task = do(nothing)
    assert (task.status, task.output) == ("completed", None)


def test_each_type_has_its_handler_and_others_are_left_alone() -> None:
    invoices, wages, other = routed(task_type="invoices"), routed(task_type="wages"), routed(task_type="other")
    finn = worker()

    @finn.handles("invoices", "receipts")
    def check(work: Work) -> dict[str, str]:
        return {"by": "check"}

    @finn.handles("wages")
    def pay(work: Work) -> dict[str, str]:
        return {"by": "pay"}

    assert finn.run_until_empty() == 2
    assert [stored(task).output for task in (invoices, wages)] == [{"by": "check"}, {"by": "pay"}]
    assert stored(other).status == "pending"


def test_what_cannot_be_done_is_failed_for_good() -> None:
    def check(work: Work) -> None:
        raise CannotDo("no-access", "The ledger is closed.")

    task = do(check)
    assert (task.status, task.error) == ("failed", {"code": "no-access", "message": "The ledger is closed."})


def test_what_may_be_done_later_waits_for_another_attempt() -> None:
    def check(work: Work) -> None:
        raise CannotDo("busy", retryable=True)

    task = do(check)
    assert (task.status, task.error, task.attempt) == ("pending", {"code": "busy", "message": "busy"}, 2)


def test_a_handler_that_breaks_costs_an_attempt_and_not_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    task = do(lambda work: {"share": 1 / work.data["people"]}, data={"people": 0})
    assert (task.status, task.attempt) == ("pending", 2)
    assert task.error == {"code": "handler-failed", "message": "ZeroDivisionError: division by zero"}
    assert "ZeroDivisionError" in caplog.text


def test_no_log_has_the_token_of_the_lease(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def check(work: Work) -> None:
        seen.append(work.lease_token)
        raise RuntimeError("so")

    with caplog.at_level("DEBUG", "agent_mesh"):
        do(check)
    assert seen[0] not in caplog.text


@pytest.mark.parametrize("output", [{"rate": float("nan")}, {"when": object()}, {"text": "x" * 70_000}, ["no object"]])
def test_an_output_that_the_service_cannot_have_fails_the_task(output: Any) -> None:
    task = do(lambda _: output)
    assert task.status == "failed"
    assert task.error is not None
    assert task.error["code"] == "output-refused"


def test_signs_of_life_keep_the_lease_and_tell_how_far_it_is() -> None:
    def check(work: Work) -> None:
        work.report(40, "16 of 41")
        work.report(message="17 of 41")
        while Task.objects.get(pk=work.task["task_id"]).progress is None:
            work.wait(0.02)

    wire = Wire()
    task = do(check, wire)
    assert (task.status, task.progress) == ("completed", {"percent": 40, "message": "17 of 41"})
    assert any(request.url.path.endswith("/heartbeat") for request in wire.sent)
    assert refusals(task) == []


def test_the_service_hears_at_once_that_a_task_arrived() -> None:
    finn = worker(heartbeat_seconds=PATIENCE)
    task = routed(task_type="invoices")

    @finn.handles("invoices")
    def check(work: Work) -> None:
        claimed_until = work.task["lease"]["expires_at"]
        ends_at = stored(task).lease_expires_at
        while ends_at is not None and instant(ends_at) == claimed_until:
            work.wait(0.02)
            ends_at = stored(task).lease_expires_at

    assert finn.run_until_empty() == 1
    assert stored(task).status == "completed"


def test_progress_that_makes_no_sense_is_the_handlers_mistake() -> None:
    def check(work: Work) -> None:
        for percent in (100.4, -1, float("nan")):
            with pytest.raises(ValueError, match="from 0 to 100"):
                work.report(percent)
        with pytest.raises(ValueError, match="4001 characters"):
            work.report(message="x" * 4001)

    assert do(check).progress is None


@pytest.mark.parametrize("unfit", ["a\ud800", "a\x00", object()])
def test_progress_that_the_service_cannot_have_does_not_cost_the_lease(
    unfit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def check(work: Work) -> None:
        work.progress_not_told({"message": unfit})
        while "is not taken" not in caplog.text:
            work.wait(0.02)
        work.report(50)
        while Task.objects.get(pk=work.task["task_id"]).progress is None:
            work.wait(0.02)

    task = do(check)
    assert (task.status, task.progress) == ("completed", {"percent": 50})


def broken(_request: httpx.Request) -> Exception:
    """What no exception of the package's is."""
    return RuntimeError("It is broken.")


@pytest.mark.parametrize("trouble", [problem(500, "internal-error"), problem(503, "service-unavailable"), broken])
def test_a_heartbeat_that_fails_is_sent_again_with_what_it_had_to_tell(trouble: Meddle) -> None:
    wire, met = Wire(), list[str]()

    def once(request: httpx.Request) -> Exception | httpx.Response | None:
        if met or not request.url.path.endswith("/heartbeat"):
            return None
        met.append(request.url.path)
        return trouble(request)

    def check(work: Work) -> None:
        work.report(40)
        while not met:
            work.wait(0.02)
        work.report(message="16 of 41")
        while (Task.objects.get(pk=work.task["task_id"]).progress or {}).keys() != {"percent", "message"}:
            work.wait(0.02)

    wire.before = [once] * 1000
    assert do(check, wire).progress == {"percent": 40, "message": "16 of 41"}


def test_a_task_that_is_called_off_stops_its_handler() -> None:
    told: list[str] = []

    def check(work: Work) -> None:
        ask_of(mona(), f"/tasks/{work.task['task_id']}/cancel")
        try:
            work.wait(PATIENCE)
        except NotWanted as why:
            told.append(why.why)
            raise

    task = do(check)
    assert told == ["The task was called off."]
    assert task.status == "cancelled"


def test_a_handler_may_look_whether_it_is_still_wanted() -> None:
    def check(work: Work) -> dict[str, int]:
        assert work.wanted
        work.check()
        ask_of(mona(), f"/tasks/{work.task['task_id']}/cancel")
        steps = 0
        while work.wanted:
            steps += 1
        return {"steps": steps}

    # It ended well before it looked: what is done is done.
    assert do(check).status == "completed"


def test_a_task_that_is_taken_away_is_left_to_others() -> None:
    finn, seen = worker(), list[bool]()
    task = routed(task_type="invoices")

    @finn.handles("invoices")
    def check(work: Work) -> dict[str, Any]:
        ask_of(operator(), f"/tasks/{work.task['task_id']}/force-release", {"reason": "The worker hangs."})
        while work.wanted:
            pass
        seen.append(work.lost)
        finn.stop()
        return {"late": True}

    finn.run_until_empty()
    assert seen == [True]
    assert (stored(task).status, stored(task).output) == ("pending", None)
    # One heartbeat heard of it; nothing came after.
    assert len(refusals(task)) == 1


def told_through(troubles: list[Meddle], wire: Wire, output: Any) -> Task:
    """Have a task done whose end meets these troubles, one at each attempt to tell it."""

    def meet(request: httpx.Request) -> Exception | httpx.Response | None:
        is_end = request.url.path.endswith("/complete")
        return troubles.pop(0)(request) if is_end and troubles else None

    wire.before = [meet] * 10_000
    return do(lambda _: output, wire)


def test_the_end_is_told_until_it_is_taken_under_one_key(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "_LONGEST_PAUSE", 0.1)
    wire = Wire()

    def cut(request: httpx.Request) -> Exception:
        wire.served.handle_request(request).close()
        return lost(request)

    passing = [problem(*one, Retry_After="0") for one in ((503, "service-unavailable"), (409, "request-in-flight"))]
    task = told_through([lost, *passing, lost, cut], wire, {"unpaid": 3})
    assert (task.status, task.output) == ("completed", {"unpaid": 3})
    keys = [request.headers["Idempotency-Key"] for request in wire.sent if request.url.path.endswith("/complete")]
    assert (len(keys), len(set(keys))) == (6, 1)
    assert "no longer" not in caplog.text
    # The client would try thrice; between two attempts to tell it there is to be room for a heartbeat.
    assert "tried once" in caplog.text
    assert "3 times" not in caplog.text


def test_an_output_that_is_refused_after_a_lost_attempt_fails_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_LONGEST_PAUSE", 0.1)
    assert told_through([lost], Wire(), {"text": "x" * 70_000}).status == "failed"


def test_a_claim_has_no_key_and_waits() -> None:
    routed(task_type="invoices")
    wire = Wire()
    finn = worker(wire, wait_seconds=7)

    @finn.handles("invoices")
    def check(work: Work) -> None:
        finn.stop()

    finn.run()
    claim = next(request for request in wire.sent if request.url.path == "/tasks/claim")
    assert "Idempotency-Key" not in claim.headers
    assert json.loads(claim.content) == {
        "task_types": ["invoices"],
        "max": 1,
        "lease_seconds": 10,
        "wait_seconds": 7,
    }


def test_after_a_stop_what_is_at_hand_is_ended_and_no_more_is_claimed() -> None:
    first, second = routed(task_type="invoices"), routed(task_type="invoices")
    finn = worker()

    @finn.handles("invoices")
    def check(work: Work) -> None:
        finn.stop()
        finn.stop()

    finn.run()
    assert [stored(task).status for task in (first, second)] == ["completed", "pending"]


def test_a_signal_ends_it_though_it_comes_while_the_worker_holds_its_own_lock() -> None:
    first, second = routed(task_type="invoices"), routed(task_type="invoices")
    finn = worker()

    @finn.handles("invoices")
    def check(work: Work) -> None:
        with finn._stopping._cond:  # type: ignore[attr-defined]  # as where the signal interrupts `_stopping.wait()`
            signal.raise_signal(signal.SIGTERM)
        assert finn._stopping.wait(PATIENCE)

    finn.run()
    assert [stored(task).status for task in (first, second)] == ["completed", "pending"]


def test_a_second_signal_interrupts_the_handler_and_hands_the_task_back() -> None:
    task, former = routed(task_type="invoices"), signal.getsignal(signal.SIGINT)
    finn = worker()

    @finn.handles("invoices")
    def check(work: Work) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        finn.run()
    assert (stored(task).status, stored(task).attempt) == ("pending", 1)
    assert signal.getsignal(signal.SIGINT) is former


def test_what_takes_longer_than_the_grace_is_handed_back() -> None:
    task = routed(task_type="invoices")
    finn = worker(grace_seconds=0.05)

    @finn.handles("invoices")
    def check(work: Work) -> None:
        finn.stop()
        work.wait(PATIENCE)

    finn.run()
    assert (stored(task).status, stored(task).attempt) == ("pending", 1)


def test_what_a_claim_brings_after_the_stop_is_handed_back() -> None:
    task = routed(task_type="invoices")
    finn = worker(wire := Wire())
    finn.handles("invoices")(nothing)

    def stop(_request: httpx.Request) -> None:
        finn.stop()

    wire.before = [stop]
    finn.run()
    assert (stored(task).status, stored(task).attempt) == ("pending", 1)


def test_trouble_with_claiming_passes() -> None:
    task = routed(task_type="invoices")
    finn = worker(Wire(before=[refused, refused, refused, problem(401, "unauthenticated")]))

    @finn.handles("invoices")
    def check(work: Work) -> None:
        finn.stop()

    finn.run()
    assert stored(task).status == "completed"


def test_a_role_that_is_not_the_workers_is_told() -> None:
    finn = worker(roles=["legal"])
    finn.handles("invoices")(nothing)
    with pytest.raises(Refused) as refusal:
        finn.run()
    assert refusal.value.slug == "forbidden"


def test_a_token_that_is_none_is_told() -> None:
    finn = Worker(client("no.such.token"), wait_seconds=0)
    finn.handles("invoices")(nothing)
    with pytest.raises(Refused) as refusal:
        finn.run()
    assert refusal.value.status == 401


def test_working_off_what_there_is_tells_that_nothing_answers() -> None:
    finn = worker(Wire(before=[refused] * 9))
    finn.handles("invoices")(nothing)
    with pytest.raises(Unreachable):
        finn.run_until_empty()


def test_a_worker_without_handlers_or_with_two_for_one_type_is_a_mistake() -> None:
    finn = worker()
    with pytest.raises(ValueError, match="not 0"):
        finn.run()
    finn.handles("invoices")(nothing)
    with pytest.raises(ValueError, match="handler already"):
        finn.handles("invoices")(nothing)
    finn.handles(*map(str, range(20)))(nothing)
    with pytest.raises(ValueError, match="not 21"):
        finn.run_until_empty()


ACTION = {"pay": "Hansen Tools", "amount": 48_000}


def decide(verdict: str) -> Callable[[], None]:
    """A manager who answers the one question there is."""

    def decided() -> None:
        waited = Event()
        try:
            while not Approval.objects.exists():
                waited.wait(0.02)
            ask_of(manager(), f"/approvals/{Approval.objects.get().pk}/{verdict}")
        finally:
            connections.close_all()

    return decided


def buy(verdict: str, handler: Callable[[Work], Any]) -> Task:
    petra = Thread(target=decide(verdict))
    petra.start()
    try:
        return do(handler)
    finally:
        petra.join()


def test_what_people_agreed_to_is_used_once() -> None:
    def purchase(work: Work) -> dict[str, Any]:
        approval = work.agreement("manager", ACTION, reason="Above the limit.")
        return {"approved_by": approval["decisions"][0]["decider"]}

    task = buy("approve", purchase)
    assert (task.status, task.output) == ("completed", {"approved_by": "local|petra"})
    assert Approval.objects.get().consumed_at is not None


def test_what_people_refuse_fails_the_task() -> None:
    def purchase(work: Work) -> None:
        with pytest.raises(NotApproved) as why:
            work.agreement("manager", ACTION)
        assert why.value.outcome == "rejected"
        raise why.value

    task = buy("reject", purchase)
    assert task.status == "failed"
    approval = Approval.objects.get()
    message = f"Approval {approval.pk} is rejected by local|petra: no comments."
    assert task.error == {"code": "approval-rejected", "message": message}
    assert approval.consumed_at is None
