"""What the client sends again, and what it does not."""

from typing import Any

import httpx
import pytest

from agent_mesh.problems import NoToken, NotTheService, Refused, Unreachable
from agent_mesh.retrying import Retry
from agent_mesh.tokens import StaticToken
from sessions_app.models import Session, Task
from tests.agent_mesh.in_process import Waits, Wire, answers, client, lost, problem, refused
from tests.api import token
from tests.sessions_app.session_calls import UNKNOWN_ID, session_in

pytestmark = pytest.mark.django_db(transaction=True)


def route(wire: httpx.BaseTransport, **retry: Any) -> str:
    return client(wire=wire, **retry).tasks.route("finance", "invoices", data={"invoices": 41})["task_id"]


def test_two_connection_errors_and_then_success_are_three_attempts_one_key_and_one_task() -> None:
    wire = Wire(before=[refused, lost])
    made = route(wire)
    assert [str(pk) for pk in Task.objects.values_list("pk", flat=True)] == [made]
    assert len(wire.sent) == 3
    assert len(set(wire.headers("Idempotency-Key"))) == 1
    assert len({request.content for request in wire.sent}) == 1


def test_answers_that_are_lost_leave_one_task_and_its_first_answer() -> None:
    wire = Wire(after=[lost, lost])
    made = route(wire)
    assert [str(pk) for pk in Task.objects.values_list("pk", flat=True)] == [made]
    assert len(wire.sent) == 3


def test_each_operation_has_a_key_of_its_own() -> None:
    wire = Wire()
    assert route(wire) != route(wire)
    assert len(set(wire.headers("Idempotency-Key"))) == 2


def test_a_key_of_the_callers_is_sent_as_it_is() -> None:
    wire = Wire()
    one, other = (client(wire=wire).sessions.open("finance", idempotency_key="close-2026-Q4") for _ in range(2))
    assert one == other
    assert Session.objects.count() == 1
    assert wire.headers("Idempotency-Key") == ["close-2026-Q4"] * 2


@pytest.mark.parametrize(
    "passing",
    [
        problem(409, "request-in-flight", Retry_After="1"),
        problem(429, "too-many-requests", Retry_After="1"),
        problem(503, "service-unavailable", Retry_After="1"),
        answers(502),
        answers(503),
        answers(504),
    ],
)
def test_what_passes_is_tried_again(passing: object) -> None:
    wire = Wire(before=[passing, passing])  # type: ignore[list-item]
    route(wire)
    assert len(wire.sent) == 3


@pytest.mark.parametrize(
    ("status", "slug"),
    [
        (400, "invalid-request"),
        (401, "unauthenticated"),
        (403, "forbidden"),
        (404, "not-found"),
        (409, "illegal-transition"),
        (412, "precondition-failed"),
        (413, "body-too-large"),
        (422, "idempotency-key-mismatch"),
        (500, "internal-error"),
    ],
)
def test_any_other_refusal_is_the_answer(status: int, slug: str) -> None:
    wire = Wire(before=[problem(status, slug, Retry_After="1")])
    with pytest.raises(Refused) as refusal:
        route(wire)
    assert (refusal.value.status, refusal.value.slug) == (status, slug)
    assert len(wire.sent) == 1


def test_the_same_key_for_another_request_is_one_attempt() -> None:
    me = client(wire=(wire := Wire()))
    me.sessions.open("finance", idempotency_key="mine")
    with pytest.raises(Refused) as refusal:
        me.sessions.open("finance", metadata={"quarter": "Q4"}, idempotency_key="mine")
    assert (refusal.value.status, refusal.value.slug) == (422, "idempotency-key-mismatch")
    assert len(wire.sent) == 2


def test_reads_claims_and_heartbeats_are_tried_again_without_a_key() -> None:
    wire = Wire(before=[lost])
    assert client(wire=wire).tasks.claim() == []
    wire.sent.clear()
    assert client(wire=wire).sessions.page()["sessions"] == []
    assert wire.headers("Idempotency-Key") == [None, None]


def test_where_nothing_answers_it_says_so_after_the_last_attempt() -> None:
    wire = Wire(before=[refused] * 9)
    with pytest.raises(Unreachable, match=r"http://localhost cannot be reached, tried 3 times: connection refused"):
        route(wire)
    assert len(wire.sent) == 3


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_attempts_are_counted_in_all(attempts: int) -> None:
    wire = Wire(before=[problem(503, "service-unavailable")] * 9)
    with pytest.raises(Refused):
        route(wire, attempts=attempts)
    assert len(wire.sent) == attempts


def test_a_pause_is_as_long_as_the_service_says_at_least() -> None:
    waits = Waits()
    route(Wire(before=[problem(429, "too-many-requests", Retry_After="7")]), sleep=waits)
    assert 7 <= waits.seconds[0] <= 7 + Retry().first_pause


def test_a_pause_beyond_patience_is_not_waited_for() -> None:
    wire = Wire(before=[problem(429, "too-many-requests", Retry_After="3600")])
    with pytest.raises(Refused) as refusal:
        route(wire)
    assert refusal.value.problem.retry_after == 3600
    assert len(wire.sent) == 1


def test_pauses_grow_up_to_a_cap_and_are_spread() -> None:
    retry = Retry(attempts=12, first_pause=0.5, longest_pause=4)
    spread = [[retry.pause_before(attempt) or 0 for _ in range(200)] for attempt in range(2, 13)]
    caps = [0.5, 1, 2, *([4] * 8)]
    assert all(cap * 0.8 < max(pauses) <= cap for pauses, cap in zip(spread, caps, strict=True))
    assert all(min(pauses) < cap * 0.2 for pauses, cap in zip(spread, caps, strict=True))
    assert retry.pause_before(13) is None


class Dries(StaticToken):
    """A source that has one token, and then none."""

    def token(self) -> str:
        self.asked = getattr(self, "asked", 0) + 1
        if self.asked > 1:
            raise NoToken("It has dried up.")
        return super().token()


def test_a_write_whose_token_ends_after_a_lost_attempt_may_be_done() -> None:
    wire = Wire(after=[lost])
    with pytest.raises(NoToken) as failure:
        client(wire=wire).acting_as(Dries(token())).tasks.route("finance", "invoices")
    assert (failure.value.maybe_done, failure.value.key) == (True, wire.headers("Idempotency-Key")[0])
    with pytest.raises(NoToken) as failure:
        client("").tasks.route("finance", "invoices")
    assert not failure.value.maybe_done


def test_what_does_not_speak_json_is_not_the_service() -> None:
    page = lambda _request: httpx.Response(200, text="<html>")  # noqa: E731
    with pytest.raises(NotTheService, match="does not speak JSON"):
        route(Wire(before=[page]))


def test_a_token_is_not_sent_after_a_redirect() -> None:
    wire = Wire(before=[answers(307, Location="https://elsewhere.example/tasks/route")])
    with pytest.raises(NotTheService, match="sends elsewhere"):
        route(wire)
    assert len(wire.sent) == 1


def test_a_refusal_that_is_no_problem_document_has_its_status() -> None:
    with pytest.raises(Refused) as refusal:
        route(Wire(before=[lambda _request: httpx.Response(400, text="<html>no</html>")]))
    assert (refusal.value.status, refusal.value.slug) == (400, "")
    assert str(refusal.value) == "400: The service gave no reason."


def test_a_refusal_carries_the_problem() -> None:
    session = session_in("completed")
    with pytest.raises(Refused, match="409 illegal-transition") as refusal:
        client().sessions.update(session.pk, status="active")
    told = refusal.value.problem
    assert told.members == {"from": "completed", "to": "active", "allowed": []}
    assert told.instance == f"/sessions/{session.pk}"
    assert told.request_id in str(refusal.value)


def test_a_refusal_names_the_fields_that_are_wrong() -> None:
    with pytest.raises(Refused, match=r"agent_role: ") as refusal:
        client().sessions.open("")
    assert [field for field, _ in refusal.value.problem.errors] == ["agent_role"]


@pytest.mark.parametrize("row", ["", " ", ".", "..", "../sessions"])
def test_an_id_never_leads_to_another_path(row: str) -> None:
    wire = Wire()
    with pytest.raises((ValueError, Refused)):
        client(wire=wire).tasks.get(row)
    assert [request.url.raw_path for request in wire.sent] in ([], [b"/tasks/..%2Fsessions"])


def test_what_is_unknown_is_told() -> None:
    with pytest.raises(Refused) as refusal:
        client().tasks.get(UNKNOWN_ID)
    assert refusal.value.slug == "not-found"
