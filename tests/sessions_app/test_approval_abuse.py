"""What people might try with approvals, case by case: what is refused leaves nothing but its record."""

from collections.abc import Iterator
from time import sleep
from typing import Any

import pytest

from audit_app.models import AuditEvent
from sessions_app.models import Approval, Decision
from tests.api import Api, token
from tests.orchestrator.key_server import CLIENT, KeyServer, jwk, serving, trusting
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import (
    ACTION,
    PAST,
    SHORT,
    agent_for,
    agree,
    ask,
    ask_at_creation,
    asker,
    consume,
    manager,
    nothing_but_refused,
    nothing_moves,
    now,
    problem_of,
    question,
    refuse,
    task_of,
    where,
    withdraw,
)
from tests.sessions_app.session_calls import somebody
from tests.sessions_app.task_calls import lapse

pytestmark = pytest.mark.django_db(transaction=True)

VERBS = ("approve", "reject")
TO = {"approve": "approved", "reject": "rejected"}
BODY = {"action": ACTION}
both = pytest.mark.parametrize("verb", VERBS)


def everything(name: str, **options: Any) -> Api:
    """Somebody with every role, of the managers and of finance."""
    return Api(token(name, "agent,approver,auditor,operator", "finance,manager", **options))


def barred(caller: Api, subject: str, approval: Approval, verb: str) -> None:
    """Refused for separation of duties, in either form of the call and in any mood, and recorded each time."""
    tried = (subject, verb, "separation-of-duties")
    by_task = {"task_id": str(approval.task_id), "decision": TO[verb]}
    with nothing_but_refused(tried, tried, tried):
        for headers in ({}, {"Idempotency_Key": "a-key"}):
            problem_of(
                caller.post(where(approval, verb), {"comments": "Fine."}, **headers), 403, "separation-of-duties"
            )
        problem_of(caller.post("/approvals", by_task), 403, "separation-of-duties")


# Deciding one's own.


@both
def test_self_approval_directly(verb: str) -> None:
    alice = everything("alice")
    asked = alice.post("/approvals", {"task_id": str(task_states.pending().pk), "approver_role": "manager"})
    barred(alice, "alice", Approval.objects.get(pk=asked.json()["approval_id"]), verb)


@both
def test_self_approval_of_a_task_that_required_it_from_the_start(verb: str) -> None:
    alice = everything("alice")
    work = {"task_type": "purchase", "to_role": "finance", "from_role": "finance"}
    alice.post("/tasks", {**work, "requires_approval": {"approver_role": "manager"}})
    barred(alice, "alice", Approval.objects.get(), verb)


@both
def test_self_approval_through_an_agent_that_asks(verb: str) -> None:
    body = {"task_id": str(task_states.pending().pk), "approver_role": "manager"}
    asked = asker("petra", act_subject="bot").post("/approvals", body)
    assert asked.status_code == 201, asked.content
    barred(manager(), "petra", Approval.objects.get(), verb)


@both
def test_self_approval_through_an_agent_that_decides(verb: str) -> None:
    approval = ask(by=somebody("petra"))
    bot = everything("petra", act_subject="bot")
    with nothing_moves():
        problem_of(bot.post(where(approval, verb), {}), 403, "forbidden")


@both
def test_self_approval_through_a_second_token_of_the_same_subject(verb: str) -> None:
    first, second = asker("petra", ttl=60), manager("petra", ttl=600)
    assert first.headers != second.headers
    first.post("/approvals", {"task_id": str(task_states.pending().pk), "approver_role": "manager"})
    barred(second, "petra", Approval.objects.get(), verb)


@pytest.fixture
def issuers(settings: Any) -> Iterator[tuple[KeyServer, KeyServer]]:
    """Two that are trusted, by whose client people may decide."""
    settings.OIDC_DECIDING_CLIENTS = (CLIENT,)
    with serving() as one, serving() as other:
        for server in (one, other):
            server.shows(jwk("key-1"))
        with trusting(one.issuer(), other.issuer()):
            yield one, other


def test_the_same_subject_of_another_issuer_is_another_person(issuers: tuple[KeyServer, KeyServer]) -> None:
    one, other = issuers
    asks = Api(one.token(sub="petra", tenant="default"))
    own, theirs = (Api(server.person_token(sub="petra", tenant="default")) for server in (one, other))
    asked = asks.post("/approvals", {"task_id": str(task_of(ask()).pk), "approver_role": "manager"})
    approval = Approval.objects.get(pk=asked.json()["approval_id"])
    with nothing_but_refused(("petra", "approve", "separation-of-duties")):
        problem_of(own.post(where(approval, "approve"), {}), 403, "separation-of-duties")
    answer = theirs.post(where(approval, "approve"), {})
    assert (answer.status_code, answer.json()["status"]) == (200, "approved"), answer.content
    assert answer.json()["requested_by"] == f"{one.address}|petra"
    assert answer.json()["decisions"][0]["decider"] == f"{other.address}|petra"


def test_an_agent_of_another_issuer_does_not_hide_for_whom_it_asks(issuers: tuple[KeyServer, KeyServer]) -> None:
    one, _ = issuers
    act = {"sub": "bot", "iss": "https://agents.example"}
    asks = Api(one.token(sub="petra", tenant="default", act=act))
    asked = asks.post("/approvals", {"task_id": str(task_of(ask()).pk), "approver_role": "manager"})
    assert asked.status_code == 201, asked.content
    approval = Approval.objects.get(pk=asked.json()["approval_id"])
    person = Api(one.person_token(sub="petra", tenant="default"))
    with nothing_but_refused(("petra", "approve", "separation-of-duties")):
        problem_of(person.post(where(approval, "approve"), {}), 403, "separation-of-duties")


# Deciding what one holds.


@both
def test_by_the_holder_of_the_lease(verb: str) -> None:
    task, _ = task_states.held(by=somebody("petra"))
    barred(manager(), "petra", ask(task), verb)


@both
def test_by_the_holder_of_a_lease_that_lapsed_and_was_not_swept(verb: str) -> None:
    task = task_states.active()
    approval = ask(task)
    lapse(task)
    barred(Api(token("finn", "approver", "manager")), "finn", approval, verb)


@both
def test_by_the_person_for_whom_an_agent_holds_the_lease(verb: str) -> None:
    task, _ = task_states.held(by=agent_for("petra"))
    barred(manager(), "petra", ask(task), verb)


# Deciding without being one who may.


@both
def test_by_an_agent_with_the_approver_role(verb: str) -> None:
    bot = everything("anna", act_subject="bot")
    for approval in (ask(), ask(by=agent_for("anna")), ask(task_states.held(by=agent_for("anna"))[0])):
        with nothing_moves():
            problem_of(bot.post(where(approval, verb), {}), 403, "forbidden")
        # Without the role there is nothing left that it may do.
        with nothing_moves():
            problem_of(manager("anna", act_subject="bot").post(where(approval, verb), {}), 403, "forbidden")


@both
def test_by_a_service_account_with_the_approver_role(verb: str) -> None:
    barred(manager("robot", service_account=True), "robot", ask(), verb)


@both
def test_by_an_operator_without_the_approver_role(verb: str) -> None:
    approval = ask()
    for roles in ("operator", "operator,agent", "operator,auditor"):
        with nothing_moves():
            problem_of(Api(token("olga", roles, "manager")).post(where(approval, verb), {}), 403, "forbidden")


@both
def test_by_an_approver_of_another_role(verb: str) -> None:
    approval = ask()
    for roles, agent_roles, status in (
        ("approver", "board", 404),
        ("approver", "Manager", 404),
        ("approver", "", 404),
        ("approver,operator", "board", 403),
    ):
        with nothing_moves():
            answer = Api(token("paul", roles, agent_roles)).post(where(approval, verb), {})
        assert answer.status_code == status, answer.content


@both
def test_by_an_approver_of_another_tenant(verb: str) -> None:
    approval = ask()
    stranger = everything("petra", tenant="acme")
    with nothing_moves():
        problem_of(stranger.post(where(approval, verb), {}), 404, "not-found")
        answer = stranger.post("/approvals", {"task_id": str(approval.task_id), "decision": TO[verb]})
        problem_of(answer, 400, "invalid-request")
    for path in (where(approval), f"{where(approval)}?wait=1"):
        problem_of(stranger.get(path), 404, "not-found")


# Deciding at the wrong time.


@both
def test_late_before_the_sweep_has_come_by(verb: str) -> None:
    approval = ask(lasting=SHORT)
    sleep(SHORT.total_seconds())
    with nothing_but_refused(("petra", verb, "approval-expired")):
        problem_of(manager().post(where(approval, verb), {}), 409, "approval-expired")


@both
def test_after_it_was_called_off(verb: str) -> None:
    approval = withdraw(ask())
    with nothing_but_refused(("petra", verb, "illegal-transition")):
        answer = manager().post(where(approval, verb), {})
    assert problem_of(answer, 409, "illegal-transition")["from"] == "cancelled"


@both
def test_after_the_end_of_its_task(verb: str) -> None:
    approval = ask()
    task_states.cancelled(task_of(approval))
    with nothing_but_refused(("petra", verb, "illegal-transition")):
        answer = manager().post(where(approval, verb), {})
    assert problem_of(answer, 409, "illegal-transition")["from"] == "cancelled"


@both
def test_after_somebody_refused(verb: str) -> None:
    approval = refuse(ask())
    with nothing_but_refused(("max", verb, "illegal-transition")):
        answer = manager("max").post(where(approval, verb), {})
    assert problem_of(answer, 409, "illegal-transition")["from"] == "rejected"


@both
def test_to_take_back_ones_own_decision(verb: str) -> None:
    for settled in (agree(ask()), refuse(ask())):
        with nothing_but_refused(("petra", verb, "illegal-transition")):
            problem_of(manager().post(where(settled, verb), {}), 409, "illegal-transition")


def test_twice_by_the_same_person_for_a_quorum_of_two() -> None:
    approval = ask(required_approvals=2)
    assert manager(ttl=60).post(where(approval, "approve"), {}).json()["status"] == "pending"
    by_task = {"task_id": str(approval.task_id), "decision": "approved"}
    tried = ("petra", "approve", "already-decided")
    with nothing_but_refused(tried, tried, tried):
        problem_of(manager(ttl=600).post(where(approval, "approve"), {}), 409, "already-decided")
        problem_of(everything("petra").post(where(approval, "approve"), {}), 409, "already-decided")
        problem_of(manager().post("/approvals", by_task), 409, "already-decided")
    assert Decision.objects.count() == 1
    assert task_of(approval).status == "blocked"


@both
def test_with_a_version_that_was_not_the_last_one_seen(verb: str) -> None:
    approval = agree(ask(required_approvals=3))
    with nothing_moves():
        problem_of(manager("max").post(where(approval, verb), {}, If_Match='"1"'), 412, "precondition-failed")


def test_by_sending_somebody_elses_key_again() -> None:
    approval = ask(required_approvals=2)
    first = manager().post(where(approval, "approve"), {}, Idempotency_Key="k-1")
    with nothing_moves():
        again = manager().post(where(approval, "approve"), {}, Idempotency_Key="k-1")
        assert (again.status_code, again.json()) == (200, first.json())
        changed = manager().post(where(approval, "approve"), {"comments": "?"}, Idempotency_Key="k-1")
        problem_of(changed, 422, "idempotency-key-mismatch")
        turned = manager().post(where(approval, "reject"), {}, Idempotency_Key="k-1")
        problem_of(turned, 422, "idempotency-key-mismatch")
    other = manager("max").post(where(approval, "approve"), {}, Idempotency_Key="k-1")
    assert (other.status_code, other.json()["status"]) == (200, "approved"), other.content
    assert [said["decider"] for said in other.json()["decisions"]] == ["local|petra", "local|max"]


# Getting round the question.


def test_no_claim_takes_a_task_that_waits(operator: Api) -> None:
    ask()
    with nothing_moves():
        assert asker("finn").post("/tasks/claim", {"max": 10}).json() == {"tasks": []}
        assert operator.post("/tasks/claim", {"roles": ["finance"], "max": 10}).json() == {"tasks": []}


def test_no_release_by_force_frees_a_task_that_waits(operator: Api) -> None:
    approval = ask()
    with nothing_moves():
        answer = operator.post(f"/tasks/{approval.task_id}/force-release", {"reason": "hurry"})
    problem_of(answer, 409, "illegal-transition")


def test_calling_off_one_question_does_not_answer_the_other() -> None:
    _, (first, second) = ask_at_creation(question(), question("board"))
    withdraw(first, by=task_states.manager())
    assert (now(second).status, task_of(second).status) == ("pending", "blocked")
    withdraw(second, by=task_states.manager())
    assert task_of(second).status == "cancelled"


def test_nobody_calls_off_what_another_asks() -> None:
    approval = ask(by=somebody("bob"))
    with nothing_moves():
        problem_of(Api(token("alice", "agent,auditor")).post(where(approval, "cancel"), {}), 403, "forbidden")
        problem_of(asker().post(where(approval, "cancel"), {}), 404, "not-found")
        problem_of(manager().post(where(approval, "cancel"), {}), 403, "forbidden")


# Doing something else than was agreed to, or more often.


def test_consume_by_a_stranger() -> None:
    approval = agree(ask(task_states.active(), action=ACTION))
    with nothing_but_refused(("eve", "consume", "forbidden")):
        answer = Api(token("eve", "operator,agent", "finance")).post(where(approval, "consume"), BODY)
    problem_of(answer, 403, "forbidden")
    with nothing_moves():
        problem_of(asker("eve").post(where(approval, "consume"), BODY), 404, "not-found")


def test_consume_by_one_who_agreed() -> None:
    approval = agree(ask(action=ACTION))
    with nothing_moves():
        problem_of(manager().post(where(approval, "consume"), BODY), 403, "forbidden")
    with nothing_but_refused(("petra", "consume", "forbidden")):
        problem_of(everything("petra").post(where(approval, "consume"), BODY), 403, "forbidden")


def test_consume_by_a_former_holder_whose_lease_lapsed(operator: Api) -> None:
    task = task_states.active()
    approval = agree(ask(task, action=ACTION))
    lapse(task)
    with nothing_but_refused(("finn", "consume", "forbidden")):
        problem_of(asker("finn").post(where(approval, "consume"), BODY), 403, "forbidden")
    operator.post(f"/tasks/{approval.task_id}/force-release", {"reason": "it lapsed"})
    with nothing_moves():
        problem_of(asker("finn").post(where(approval, "consume"), BODY), 404, "not-found")
    assert now(approval).consumed_at is None


def test_consume_by_a_former_holder_who_asked_while_they_held_it(operator: Api) -> None:
    task = task_states.active()
    approval = agree(ask(task, by=somebody("finn"), action=ACTION))
    lapse(task)
    late = ("finn", "consume", "forbidden")
    with nothing_but_refused(late):
        problem_of(asker("finn").post(where(approval, "consume"), BODY), 403, "forbidden")
    operator.post(f"/tasks/{task.pk}/force-release", {"reason": "it lapsed"})
    task_states.held(task, by=somebody("frank"))
    with nothing_but_refused(late):
        problem_of(asker("finn").post(where(approval, "consume"), BODY), 403, "forbidden")
    assert asker("frank").post(where(approval, "consume"), BODY).status_code == 200


def test_claim_by_one_who_agreed() -> None:
    agree(ask())
    for caller in (everything("petra"), Api(token("petra", act_subject="bot"))):
        with nothing_moves():
            assert caller.post("/tasks/claim", {"roles": ["finance"], "max": 10}).json() == {"tasks": []}


def test_swapping_those_who_are_asked(operator: Api) -> None:
    task, (asked,) = ask_at_creation(question())
    operator.post("/approvals", {"task_id": str(task.pk), "approver_role": "desk"})
    operator.post(where(asked, "cancel"), {})
    agree(Approval.objects.get(approver_role="desk"))
    assert task_of(asked).status == "cancelled"


def test_asking_on_a_lease_that_lapsed_so_that_nothing_waits() -> None:
    approval = ask(task_states.lapsed(), by=somebody("finn"))
    assert (task_of(approval).status, approval.blocks) == ("blocked", True)


def test_consume_of_a_changed_payload() -> None:
    approval = agree(ask(action=ACTION))
    for changed in ({**ACTION, "amount": 48_000.01}, {**ACTION, "pay": "Hansen Too1s"}, {**ACTION, "tip": 1}, {}):
        with nothing_but_refused(("alice", "consume", "action-mismatch")):
            answer = asker().post(where(approval, "consume"), {"action": changed})
        problem_of(answer, 409, "action-mismatch")


def test_consume_of_a_reordered_but_equal_action() -> None:
    approval = agree(ask(action={"pay": "Hansen Tools", "amount": {"value": 48_000, "currency": "EUR"}}))
    body = b'{"action":{"amount":{"currency":"EUR","value":48000},"pay":"Hansen Tools"}}'
    answer = asker().send_raw("POST", where(approval, "consume"), body)
    assert answer.status_code == 200, answer.content


def test_consume_with_1_0_for_1() -> None:
    for asked, used in ((b"1", b"1.0"), (b"1.0", b"1"), (b"100", b"1e2"), (b"0", b"-0.0")):
        task = str(task_states.pending().pk).encode()
        body = b'{"task_id": "%b", "approver_role": "manager", "action": {"amount": %b}}' % (task, asked)
        made = asker().send_raw("POST", "/approvals", body)
        approval = agree(Approval.objects.get(pk=made.json()["approval_id"]))
        answer = asker().send_raw("POST", where(approval, "consume"), b'{"action": {"amount": %b}}' % used)
        assert answer.status_code == 200, answer.content


@pytest.mark.parametrize(
    "action",
    [
        b'{"pay": "Hansen Tools", "amount": 1, "amount": 48000, "currency": "EUR"}',
        b'{"pay": "Hansen Tools", "amount": 48000, "amount": 48000, "currency": "EUR"}',
        b'{"pay": "Hansen Tools", "amount": 48000, "\\u0061mount": 48000, "currency": "EUR"}',
        # Numbers that a digest could not tell from their neighbours.
        b'{"pay": "Hansen Tools", "amount": 9007199254740993, "currency": "EUR"}',
        b'{"pay": "Hansen Tools", "amount": 1e400, "currency": "EUR"}',
        b'{"pay": "Hansen Tools", "amount": NaN, "currency": "EUR"}',
    ],
)
def test_an_action_that_two_readers_could_read_differently(action: bytes) -> None:
    approval = agree(ask(action=ACTION))
    task = str(task_states.pending().pk).encode()
    asking = b'{"task_id": "%b", "approver_role": "manager", "action": %b}' % (task, action)
    with nothing_moves():
        used = asker().send_raw("POST", where(approval, "consume"), b'{"action": %b}' % action)
        problem_of(used, 400, "invalid-json")
        problem_of(asker().send_raw("POST", "/approvals", asking), 400, "invalid-json")


def test_a_body_that_says_twice_what_was_decided() -> None:
    approval = ask()
    body = b'{"task_id": "%b", "decision": "rejected", "decision": "approved"}' % str(approval.task_id).encode()
    with nothing_moves():
        problem_of(manager().send_raw("POST", "/approvals", body), 400, "invalid-json")


def test_consume_twice() -> None:
    approval = consume(agree(ask(action=ACTION)))
    tried = ("alice", "consume", "already-consumed")
    with nothing_but_refused(tried, tried):
        problem_of(asker().post(where(approval, "consume"), BODY), 409, "already-consumed")
        answer = asker().post(where(approval, "consume"), BODY, Idempotency_Key="once-more")
        problem_of(answer, 409, "already-consumed")


def test_consume_by_the_holder_after_whoever_asked() -> None:
    approval = consume(agree(ask(task_states.active(), action=ACTION)))
    with nothing_but_refused(("finn", "consume", "already-consumed")):
        problem_of(asker("finn").post(where(approval, "consume"), BODY), 409, "already-consumed")


def test_consume_before_enough_agreed() -> None:
    approval = agree(ask(task_states.active(), required_approvals=2, action=ACTION))
    with nothing_moves():
        problem_of(asker().post(where(approval, "consume"), BODY), 409, "illegal-transition")


def test_consume_of_what_was_refused() -> None:
    approval = refuse(ask(task_states.active(), action=ACTION))
    with nothing_moves():
        problem_of(asker().post(where(approval, "consume"), BODY), 409, "illegal-transition")


def test_consume_after_the_end_of_its_task() -> None:
    approval = agree(ask(action=ACTION))
    task_states.cancelled(task_of(approval))
    with nothing_moves():
        answer = asker().post(where(approval, "consume"), BODY)
    assert problem_of(answer, 409, "illegal-transition")["from"] == "cancelled"


def test_consume_of_an_approval_without_an_action() -> None:
    approval = agree(ask())
    for action in (ACTION, {}):
        with nothing_but_refused(("alice", "consume", "action-mismatch")):
            answer = asker().post(where(approval, "consume"), {"action": action})
        problem_of(answer, 409, "action-mismatch")


def test_consume_under_another_approval_of_the_same_task() -> None:
    _, (cheap, dear) = ask_at_creation(question(action={"amount": 1}), question(action={"amount": 48_000}))
    agree(cheap)
    mona = asker("mona", agent_roles="manager")
    with nothing_moves():
        problem_of(mona.post(where(dear, "consume"), {"action": {"amount": 48_000}}), 409, "illegal-transition")
    agree(dear, "max")
    with nothing_but_refused(("mona", "consume", "action-mismatch")):
        problem_of(mona.post(where(cheap, "consume"), {"action": {"amount": 48_000}}), 409, "action-mismatch")


# Looking is not deciding.


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_link_preview_decides_nothing(method: str) -> None:
    approval = ask(action=ACTION)
    petra = everything("petra")
    with nothing_moves():
        for verb in ("approve", "reject", "cancel", "consume"):
            answer = petra.send(method, where(approval, verb))
            assert answer.status_code == (204 if method == "OPTIONS" else 405), (verb, answer.content)
            assert "GET" not in answer.headers["Allow"]
        for path in ("/approvals", where(approval), "/approvals?assignee=me", f"/tasks/{approval.task_id}"):
            assert method == "OPTIONS" or petra.send(method, path).status_code == 200, path
    assert petra.post(where(approval, "approve"), {}).status_code == 200


@both
def test_a_query_decides_nothing(verb: str) -> None:
    approval = ask()
    with nothing_moves():
        answer = manager().post(f"{where(approval, verb)}?decision=approved", {})
        problem_of(answer, 400, "invalid-request")
        problem_of(manager().get(f"{where(approval)}?decision=approved"), 400, "invalid-request")


@both
def test_a_form_decides_nothing(verb: str) -> None:
    approval = ask()
    with nothing_moves():
        answer = manager().send_raw(
            "POST", where(approval, verb), b"comments=Fine", content_type="application/x-www-form-urlencoded"
        )
        problem_of(answer, 415, "unsupported-media-type")


@both
def test_nobody_decides_without_a_token(verb: str) -> None:
    approval = ask()
    with nothing_moves():
        problem_of(Api(None).post(where(approval, verb), {}), 401, "unauthenticated")


# What was tried is remembered as what it was.


def test_the_record_says_who_tried_for_whom_and_how() -> None:
    task, _ = task_states.held(by=somebody("finn"))
    approval = agree(ask(task, action=ACTION))
    bot = Api(token("finn", "agent,auditor", act_subject="bot"))
    with nothing_but_refused(("bot", "consume", "forbidden")):
        problem_of(bot.post(where(approval, "consume"), BODY), 403, "forbidden")
    record = last_event_outside(approval)
    assert (record.actor_issuer, record.actor_kind, record.via) == ("local", "agent", "api")
    assert (record.on_behalf_of_issuer, record.on_behalf_of_subject) == ("local", "finn")
    assert (record.ip, record.from_status, record.to_status, record.cause) == ("127.0.0.1", None, None, None)
    assert record.metadata == {"changes": {"attempted": "consume", "version": 2}}
    assert record.request_id


def last_event_outside(approval: Approval) -> Any:
    """The last refusal of it."""
    return AuditEvent.objects.filter(subject_id=approval.pk, event_type="approval.refused").latest("timestamp")


def test_a_refused_attempt_moves_no_version() -> None:
    approval = ask(by=somebody("petra"), lasting=PAST)
    for _ in range(3):
        manager().post(where(approval, "approve"), {})
    assert (now(approval).version, now(approval).status) == (1, "pending")
