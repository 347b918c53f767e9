"""What a holder sends counts only with the token of the present lease: heartbeat, complete, fail, release."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from orchestrator import boundary
from sessions_app.models import Task
from sessions_app.transitions import lease
from sessions_app.transitions import task as transitions
from tests.api import Api, errors, token
from tests.refusal_counts import a_minute_later
from tests.sessions_app.session_calls import UNKNOWN_ID, only_refused, somebody
from tests.sessions_app.task_calls import (
    CALLS,
    ENDING,
    ERROR,
    FINN,
    MONA,
    STATES,
    Held,
    assert_problem,
    attempted,
    claimed,
    finn,
    lapse,
    path,
    refused,
    routed,
    stored,
    task_in,
    unchanged,
)

pytestmark = pytest.mark.django_db(transaction=True)

every_call = pytest.mark.parametrize("verb", list(CALLS))
OLGA = somebody("olga")


def call(held: Held, verb: str, caller: Api | None = None, **fields: Any) -> Any:
    return (caller or finn()).post(path(held, verb), held.body(verb, **fields))


def assert_lost(held: Held, verb: str, caller: Api | None = None, *, by: str = "finn", **fields: Any) -> None:
    """Refused, nothing changed, and remembered outside the chain."""
    a_minute_later()
    before = len(refused(held.task))
    with unchanged(held.task):
        assert_problem(call(held, verb, caller, **fields), 409, "lease-lost")
    event = refused(held.task)[-1]
    assert len(refused(held.task)) == before + 1
    assert (event["reason"], event["actor_subject"], event["role"]) == ("lease-lost", by, "finance")
    assert attempted(event) == {"attempted": verb, "version": stored(held.task).version}


def _released(held: Held) -> None:
    boundary.write(lambda: lease.release(held.task, token=held.token, actor=FINN))


def _force_released(held: Held) -> None:
    boundary.write(lambda: lease.force_release(held.task, reason="it hangs", actor=OLGA))


def _lapsed(held: Held) -> None:
    lapse(held.task)


def _taken_by_another(held: Held) -> None:
    _released(held)
    claimed(held.task, by=somebody("fay"))


def _taken_again_by_the_same(held: Held) -> None:
    _force_released(held)
    claimed(held.task)


def _cancelled_while_lapsed(held: Held) -> None:
    lapse(held.task)
    boundary.write(lambda: transitions.cancel(held.task, actor=MONA))


LOSSES = (_force_released, _lapsed, _taken_by_another, _taken_again_by_the_same, _cancelled_while_lapsed)


@every_call
@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__.strip("_"))
def test_a_lease_that_is_lost_counts_for_nothing(lose: Callable[[Held], None], verb: str) -> None:
    held = claimed()
    lose(held)
    if (lose, verb) != (_taken_by_another, "release"):
        assert_lost(held, verb)


@every_call
def test_a_token_counts_for_nobody_else_not_even_an_operator(operator: Api, verb: str) -> None:
    held = claimed()
    assert_lost(held, verb, Api(token("fay")), by="fay")
    assert_lost(held, verb, operator, by="olga")
    assert_lost(held, verb, Api(token("finn", act_subject="bot")), by="bot")


@every_call
def test_a_token_counts_for_the_person_alone_for_whom_the_agent_claimed(verb: str) -> None:
    held = claimed(by=replace(somebody("bot"), on_behalf_of=somebody("petra").identity))
    assert_lost(held, verb, Api(token("paul", act_subject="bot")), by="bot")
    assert_lost(held, verb, Api(token("bot")), by="bot")
    petra = Api(token("petra", act_subject="bot"))
    assert [call(held, verb, petra).status_code for _ in "12"] == [200, 200]


@every_call
def test_the_holder_needs_the_token(verb: str) -> None:
    held, other = claimed(), claimed()
    for text in ("guess", other.token, held.token[:-1], held.token.swapcase(), f" {held.token}", "ü"):
        assert_lost(held, verb, lease_token=text)
    assert call(held, verb).status_code == 200


@every_call
@pytest.mark.parametrize("state", [state for state in STATES if state != "active"])
def test_there_is_no_token_to_what_nobody_holds(state: str, verb: str) -> None:
    assert_lost(Held(task_in(state), "guess"), verb)


@pytest.mark.parametrize("first", ENDING)
@every_call
def test_the_token_that_ended_an_attempt_is_good_for_no_other_call(first: str, verb: str) -> None:
    held = claimed()
    assert call(held, first).status_code == 200
    if verb != first:
        assert_lost(held, verb)


@pytest.mark.parametrize(
    ("verb", "first", "other"),
    [
        ("complete", {"output": {"unpaid": 3}}, {"output": {"unpaid": 4}}),
        ("complete", {"output": {}}, {"output": None}),
        ("complete", {"output": {"a": 1}}, {"output": {"a": True}}),
        ("fail", {"error": ERROR}, {"error": {**ERROR, "code": "other"}}),
        ("fail", {"error": ERROR}, {"error": ERROR, "retryable": False}),
    ],
)
def test_the_same_verb_with_another_body_is_another_call(verb: str, first: Any, other: Any) -> None:
    held = claimed()
    assert call(held, verb, **first).status_code == 200
    assert_lost(held, verb, **other)


@pytest.mark.parametrize(
    ("verb", "first", "again"),
    [
        ("complete", {"output": {"a": 1, "b": 2}}, {"output": {"b": 2.0, "a": 1}}),
        ("complete", {"output": None}, {}),
        ("fail", {"error": ERROR}, {"error": ERROR, "retryable": True}),
    ],
)
def test_what_says_the_same_is_the_same_call(verb: str, first: Any, again: Any) -> None:
    held = claimed()
    body = {"lease_token": held.token, **({"error": ERROR} if verb == "fail" else {})}
    answers = [finn().post(path(held, verb), {**body, **fields}) for fields in (first, again)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert refused(held.task) == []


@pytest.mark.parametrize("verb", ENDING)
def test_the_very_same_call_again_answers_the_task_as_it_now_is(verb: str) -> None:
    held = claimed()
    first = call(held, verb)
    with unchanged(held.task):
        again = finn().post(path(held, verb), held.body(verb), if_match='"99"')
    assert (again.status_code, again.json(), again.headers["ETag"]) == (200, first.json(), first.headers["ETag"])
    assert refused(held.task) == []


def test_it_does_so_after_another_took_the_task_too() -> None:
    held = claimed()
    call(held, "release")
    now = claimed(held.task, by=somebody("fay"))
    with unchanged(held.task):
        again = call(held, "release")
    assert (again.status_code, again.json()["version"], again.json()["lease"]["holder"]) == (200, 4, "local|fay")
    assert call(now, "complete", Api(token("fay"))).status_code == 200


@pytest.mark.parametrize("verb", ENDING)
def test_a_repetition_by_somebody_else_is_none(operator: Api, verb: str) -> None:
    held = claimed()
    call(held, verb)
    assert_lost(held, verb, operator, by="olga")


@pytest.mark.parametrize("verb", ENDING)
def test_with_another_version_in_hand_it_is_a_412(verb: str) -> None:
    held = claimed()
    with unchanged(held.task):
        answer = finn().post(path(held, verb), held.body(verb), if_match='"1"')
    assert_problem(answer, 412, "precondition-failed")
    assert answer.json()["current_version"] == 2
    assert finn().post(path(held, verb), held.body(verb), if_match='"2"').status_code == 200


@pytest.mark.parametrize("verb", ENDING)
def test_a_lost_lease_is_told_before_the_version(verb: str) -> None:
    held = claimed()
    lapse(held.task)
    assert_problem(finn().post(path(held, verb), held.body(verb), if_match='"1"'), 409, "lease-lost")


@every_call
@pytest.mark.parametrize("text", [None, "", " ", 5, True, [], {}, "x" * 201])
def test_refuses_a_token_that_is_no_text(verb: str, text: Any) -> None:
    held = claimed()
    with unchanged(held.task):
        answer = call(held, verb, lease_token=text)
    assert (answer.status_code, errors(answer)) == (400, ["lease_token"])
    assert refused(held.task) == []


@every_call
def test_who_may_not_work_on_it_is_told_so_whatever_they_hold(verb: str) -> None:
    held = claimed()
    for caller in (Api(token("mona", agent_roles="manager")), Api(token("ada", "auditor"))):
        with only_refused(held.task.pk, verb, model=Task):
            assert_problem(call(held, verb, caller), 403, "forbidden")
    for caller in (
        Api(token("finn", agent_roles="legal")),
        Api(token("finn", tenant="other")),
        Api(token("finn", "approver")),
    ):
        with unchanged(held.task):
            assert_problem(call(held, verb, caller), 404, "not-found")


@every_call
def test_there_is_nothing_to_hold_where_there_is_no_task(verb: str) -> None:
    body = claimed().body(verb)
    assert_problem(finn().post(f"/tasks/{UNKNOWN_ID}/{verb}", body), 404, "not-found")
    assert errors(finn().post(f"/tasks/nonsense/{verb}", body)) == ["id"]
    assert finn().get(f"/tasks/{UNKNOWN_ID}/{verb}").status_code == 405


@every_call
def test_takes_the_id_with_its_prefix(verb: str) -> None:
    held = claimed()
    assert finn().post(f"/tasks/task-{held.task.pk}/{verb}", held.body(verb)).status_code == 200


@every_call
def test_an_operator_works_like_anybody(operator: Api, verb: str) -> None:
    routed()
    [got] = operator.post("/tasks/claim", {"roles": ["finance"]}).json()["tasks"]
    body = {"lease_token": got["lease"]["token"], **CALLS[verb]}
    assert operator.post(f"/tasks/{got['task_id']}/{verb}", body).status_code == 200
