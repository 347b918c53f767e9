"""PATCH /sessions/{id}: what a merge patch changes, clears and leaves, and what it is refused for."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from audit_app.digests import DIGEST_ABOVE
from orchestrator import documents
from sessions_app.models import Session
from tests.api import Api, errors, token
from tests.database import service_connection, superuser_connection
from tests.sessions_app.session_calls import (
    NO_UUIDS,
    TERMINAL,
    UNKNOWN_ID,
    events_of,
    last_event,
    left_by,
    overdue_session,
    path,
    session_in,
    somebody,
    stored,
    task_for,
    unchanged,
)
from tests.work import assert_chain_holds, in_a_thread

pytestmark = pytest.mark.django_db(transaction=True)

MERGE_PATCH = "application/merge-patch+json"


@pytest.fixture
def session() -> Session:
    """A pending one with the metadata {"quarter": "Q4"}."""
    return session_in("pending")


def patched(caller: Api, session: Session, body: object, **headers: str) -> dict[str, Any]:
    answer = caller.send("PATCH", path(session), body, **headers)
    assert answer.status_code == 200, answer.content
    shown: dict[str, Any] = answer.json()
    assert answer.headers["ETag"] == f'"{shown["version"]}"'
    return shown


def refused(caller: Api, session: Session, body: object, status: int, slug: str, **headers: str) -> dict[str, Any]:
    with unchanged(session.id):
        answer = caller.send("PATCH", path(session), body, **headers)
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["type"] == f"/problems/{slug}"
    return problem


def invalid(caller: Api, session: Session, body: object, *fields: str) -> None:
    problem = refused(caller, session, body, 400, "invalid-request")
    assert [error["field"] for error in problem["errors"]] == list(fields)


# What it changes.


def test_answers_the_session_as_it_now_is(agent: Api, session: Session) -> None:
    shown = patched(agent, session, {"metadata": {"cost": 7}})
    assert shown == agent.get(path(session)).json()
    assert (shown["metadata"], shown["version"]) == ({"quarter": "Q4", "cost": 7}, 2)


def test_metadata_is_merged_deeply(agent: Api, session: Session) -> None:
    patched(agent, session, {"metadata": {"cost": {"centre": 7, "sums": [1, 2]}, "note": "x"}})
    shown = patched(agent, session, {"metadata": {"cost": {"centre": 8, "sums": [3]}, "note": None}})
    assert shown["metadata"] == {"quarter": "Q4", "cost": {"centre": 8, "sums": [3]}}
    assert stored(session.id)["metadata"] == shown["metadata"]


def test_null_removes_what_it_names(agent: Api, session: Session) -> None:
    patched(agent, session, {"metadata": {"a": {"b": 1, "c": 2}}})
    assert patched(agent, session, {"metadata": {"a": {"b": None}}})["metadata"] == {"quarter": "Q4", "a": {"c": 2}}
    assert patched(agent, session, {"metadata": {"a": None}})["metadata"] == {"quarter": "Q4"}


def test_metadata_null_empties_it(agent: Api, session: Session) -> None:
    assert patched(agent, session, {"metadata": None})["metadata"] == {}
    assert stored(session.id)["metadata"] == {}
    assert last_event(session.id).metadata == {"changes": {"metadata": {}}}


def test_task_id_null_clears_it(agent: Api, session: Session) -> None:
    task = task_for("finance")
    assert patched(agent, session, {"task_id": str(task.id).upper()})["task_id"] == str(task.id)
    assert patched(agent, session, {"task_id": None})["task_id"] is None
    assert stored(session.id)["task_id"] is None
    assert last_event(session.id).metadata == {"changes": {"task_id": None}}


def test_what_is_absent_stays(agent: Api, session: Session) -> None:
    task = task_for("finance")
    before = patched(agent, session, {"task_id": str(task.id), "metadata": {"a": 1}, "ttl_seconds": 600})
    after = patched(agent, session, {"metadata": {"b": 2}})
    assert after["metadata"] == {"quarter": "Q4", "a": 1, "b": 2}
    changed = ("metadata", "version", "updated_at")
    assert {name: after[name] for name in after if name not in changed} == {
        name: before[name] for name in before if name not in changed
    }


def test_an_extension_counts_from_now(agent: Api, session: Session) -> None:
    shown = patched(agent, session, {"ttl_seconds": 600})
    lasting = datetime.fromisoformat(shown["expires_at"]) - datetime.fromisoformat(shown["updated_at"])
    assert lasting == timedelta(seconds=600)
    assert last_event(session.id).event_type == "session.changed"
    assert last_event(session.id).metadata == {"changes": {"expires_at": shown["expires_at"]}}


def test_a_move_with_changes_is_one_event(agent: Api, session: Session) -> None:
    task = task_for("finance")
    body = {"status": "ACTIVE", "reason": "go", "metadata": {"a": 1}, "task_id": str(task.id), "ttl_seconds": 600}
    shown = patched(agent, session, body)
    assert (shown["status"], shown["reason"], shown["version"]) == ("active", "go", 2)
    assert [event.event_type for event in events_of(session.id)] == ["session.created", "session.activated"]
    event = last_event(session.id)
    assert (event.from_status, event.to_status, event.reason) == ("pending", "active", "go")
    assert set(event.metadata["changes"]) == {"metadata", "task_id", "expires_at"}
    assert event.metadata["changes"]["metadata"] == {"quarter": "Q4", "a": 1}
    assert_chain_holds(session)


def test_a_long_document_enters_the_trail_as_a_digest(agent: Api, session: Session) -> None:
    patched(agent, session, {"metadata": {"a": "x" * DIGEST_ABOVE}})
    assert set(last_event(session.id).metadata["changes"]["metadata"]) == {"bytes", "sha256"}
    assert_chain_holds(session)


def test_a_change_of_kind_alone_is_a_change(agent: Api, session: Session) -> None:
    patched(agent, session, {"metadata": {"a": 1}})
    assert patched(agent, session, {"metadata": {"a": True}})["metadata"]["a"] is True
    assert patched(agent, session, {"metadata": {"a": "1"}})["version"] == 4
    assert stored(session.id)["metadata"] == {"quarter": "Q4", "a": "1"}


# What changes nothing.


def test_what_changes_nothing_leaves_no_event(agent: Api, session: Session) -> None:
    bodies: list[dict[str, Any]] = [
        {},
        {"metadata": {}},
        {"metadata": {"quarter": "Q4"}},
        {"metadata": {"never": None}},
        {"metadata": {"quarter": "Q4", "never": None}},
        {"task_id": None},
        {"status": "pending"},
        {"reason": "only so"},
        {"reason": None},
        {"status": "Pending", "reason": "still", "metadata": {}, "task_id": None},
    ]
    for body in bodies:
        with unchanged(session.id):
            assert patched(agent, session, body)["version"] == 1, body


def test_emptying_what_is_empty_leaves_no_event(agent: Api, session: Session) -> None:
    patched(agent, session, {"metadata": None})
    with unchanged(session.id):
        patched(agent, session, {"metadata": None})
        patched(agent, session, {"metadata": {"a": None}})


def test_an_empty_body_changes_nothing(agent: Api, session: Session) -> None:
    with unchanged(session.id):
        assert agent.send_raw("PATCH", path(session), b"", "").status_code == 200


# What it is refused for.


def test_refuses_a_document_that_would_be_too_large(agent: Api, session: Session) -> None:
    patched(agent, session, {"metadata": {"a": "x" * 40_000}})
    invalid(agent, session, {"metadata": {"b": "y" * 30_000}}, "metadata")
    invalid(agent, session, {"metadata": {"b": "y" * documents.MAX_BYTES}}, "metadata")
    invalid(agent, session, {"status": "active", "metadata": {"b": "y" * 30_000}}, "metadata")
    size = documents.size(stored(session.id)["metadata"])
    room = documents.MAX_BYTES - size - len(',"b":""')
    invalid(agent, session, {"metadata": {"b": "y" * (room + 1)}}, "metadata")
    shown = patched(agent, session, {"metadata": {"b": "y" * room}})
    assert documents.size(shown["metadata"]) == documents.MAX_BYTES
    assert patched(agent, session, {"metadata": {"a": None, "c": 1}})["metadata"]["c"] == 1


def test_refuses_a_document_that_would_have_too_many_values(agent: Api, session: Session) -> None:
    patched(agent, session, {"metadata": {"a": [0] * 6_000}})
    invalid(agent, session, {"metadata": {"b": [0] * 6_000}}, "metadata")
    patched(agent, session, {"metadata": {"a": None, "b": [0] * 6_000}})


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def test_a_patch_may_nest_as_deep_as_a_body(agent: Api, session: Session) -> None:
    shown = patched(agent, session, {"metadata": nested(30)})
    assert shown["metadata"] == {"quarter": "Q4", **nested(30)}
    refused(agent, session, {"metadata": nested(31)}, 400, "invalid-json")
    refused(agent, session, nested(100), 400, "invalid-json")
    assert patched(agent, session, {"metadata": {"a": None}})["metadata"] == {"quarter": "Q4"}


def test_refuses_what_is_no_object(agent: Api, session: Session) -> None:
    for value in (5, "x", [], [1], True, False, 0, ""):
        invalid(agent, session, {"metadata": value}, "metadata")
    for body in (b"[]", b"[1]", b'"x"', b"5", b"true"):
        with unchanged(session.id):
            assert agent.send_raw("PATCH", path(session), body, MERGE_PATCH).status_code == 400, body


def test_refuses_to_remove_what_every_session_has(agent: Api, session: Session) -> None:
    invalid(agent, session, {"status": None}, "status")
    invalid(agent, session, {"ttl_seconds": None}, "ttl_seconds")
    invalid(agent, session, {"status": None, "metadata": {"a": 1}}, "status")


def test_refuses_fields_of_the_wrong_kind(agent: Api, session: Session) -> None:
    wrong: list[tuple[str, tuple[Any, ...]]] = [
        ("status", ("gone", "", 1, [], True)),
        ("ttl_seconds", (59, 604_801, 60.5, "60", True, [])),
        ("task_id", (*NO_UUIDS, 1, [], True)),
        ("reason", (1, [], "x" * 4_001)),
    ]
    for name, values in wrong:
        for value in values:
            invalid(agent, session, {name: value}, name)


def test_refuses_a_task_that_the_caller_does_not_see(agent: Api, session: Session) -> None:
    theirs = task_for("legal", somebody("bob"))
    elsewhere = task_for("finance", somebody("alice", tenant="other"))
    for pk in (theirs.id, elsewhere.id, UNKNOWN_ID):
        invalid(agent, session, {"task_id": str(pk), "metadata": {"a": 1}}, "task_id")


def test_an_illegal_move_is_refused_with_all_that_came_with_it(agent: Api, session: Session) -> None:
    problem = refused(agent, session, {"status": "completed", "metadata": {"a": 1}}, 409, "illegal-transition")
    assert (problem["from"], problem["to"], problem["allowed"]) == ("pending", "completed", ["active", "expired"])


@pytest.mark.parametrize("state", TERMINAL)
def test_a_final_state_is_final(agent: Api, state: str) -> None:
    session = session_in(state)
    for body in ({}, {"metadata": {"a": 1}}, {"metadata": None}, {"task_id": None}, {"status": state}, {"reason": "x"}):
        problem = refused(agent, session, body, 409, "illegal-transition")
        assert (problem["from"], problem["allowed"]) == (state, [])


def test_past_its_time_nothing_is_legal_but_expiry(agent: Api) -> None:
    session = overdue_session("active")
    for body in (
        *({}, {"metadata": {"a": 1}}, {"metadata": None}, {"ttl_seconds": 600}, {"status": "completed"}),
        *({"status": "pending"}, {"status": "expired", "metadata": {"a": 1}}, {"status": "expired", "ttl_seconds": 60}),
    ):
        problem = refused(agent, session, body, 409, "session-expired")
        assert (problem["from"], problem["allowed"]) == ("active", ["expired"])
    assert patched(agent, session, {"status": "expired"})["status"] == "expired"


def test_writes_only_on_the_version_that_was_read(agent: Api, session: Session) -> None:
    problem = refused(agent, session, {"metadata": {"a": 1}}, 412, "precondition-failed", if_match='"2"')
    assert problem["current_version"] == 1
    assert patched(agent, session, {"metadata": {"a": 1}}, if_match='"1"')["version"] == 2
    refused(agent, session, {"metadata": {"b": 1}}, 412, "precondition-failed", if_match='"1"')
    assert patched(agent, session, {"metadata": {"b": 1}}, if_match="*")["version"] == 3


def test_takes_json_and_merge_patches_and_nothing_else(agent: Api, session: Session) -> None:
    body = b'{"metadata": {"a": 1}}'
    for kind in (
        *("application/json-patch+json", "application/merge-patch", "application/merge-patch+xml", "text/plain"),
        *("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", "*/*", "x"),
        "application/merge-patch+json; charset=utf-16",
    ):
        with unchanged(session.id):
            answer = agent.send_raw("PATCH", path(session), body, kind)
        assert (answer.status_code, answer.json()["type"]) == (415, "/problems/unsupported-media-type"), kind
    for version, kind in enumerate(
        ("application/json", MERGE_PATCH, f"{MERGE_PATCH}; charset=utf-8", MERGE_PATCH.upper()), start=2
    ):
        answer = agent.send_raw("PATCH", path(session), b'{"metadata": {"n": %d}}' % version, kind)
        assert (answer.status_code, answer.json()["version"]) == (200, version), kind


def test_only_patch_takes_merge_patches(agent: Api, session: Session) -> None:
    for method, at in (("PUT", path(session)), ("POST", "/sessions")):
        answer = agent.send_raw(method, at, b'{"agent_role": "finance"}', MERGE_PATCH)
        assert answer.status_code == 415


def test_reads_a_merge_patch_as_strictly_as_json(agent: Api, session: Session) -> None:
    for body in (
        b'{"metadata": {"a": 1, "a": 2}}',
        b"{",
        b'{"metadata": {"a": NaN}}',
        b'{"metadata": {"a": "\\u0000"}}',
    ):
        with unchanged(session.id):
            answer = agent.send_raw("PATCH", path(session), body, MERGE_PATCH)
        assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-json"), body


def test_refuses_an_id_that_is_none(agent: Api) -> None:
    for text in NO_UUIDS:
        answer = agent.send("PATCH", f"/sessions/{text}", {})
        assert (answer.status_code, list(errors(answer))) == (400, ["id"]), text


# Who may.


def test_changes_only_what_the_caller_may_change(session: Session) -> None:
    body = {"metadata": {"a": 1}}
    for bearer, status in (
        ({"subject": "zoe", "agent_roles": "legal"}, 404),
        ({"subject": "alice", "tenant": "other"}, 404),
        ({"subject": "zoe", "roles": "approver"}, 403),
        ({"subject": "zoe", "roles": "auditor", "agent_roles": ""}, 403),
    ):
        with left_by(status, session.id, "change"):
            answer = Api(token(**bearer)).send("PATCH", path(session), body)
        assert answer.status_code == status, bearer
    for version, bearer in enumerate(
        (
            {"subject": "zoe", "agent_roles": "finance"},
            {"subject": "alice", "agent_roles": "legal"},
            {"subject": "zoe", "roles": "operator", "agent_roles": ""},
        ),
        start=2,
    ):
        shown = patched(Api(token(**bearer)), session, {"metadata": {"version": version}})
        assert shown["version"] == version, bearer


def test_unseen_and_missing_look_the_same(session: Session) -> None:
    stranger = Api(token("zoe", agent_roles="legal"))
    unseen, missing = (
        stranger.send("PATCH", f"/sessions/{pk}", {"metadata": {"a": 1}}, x_request_id="request-1")
        for pk in (session.id, UNKNOWN_ID)
    )
    assert unseen.status_code == missing.status_code == 404
    assert unseen.content.decode().replace(str(session.id), "ID") == missing.content.decode().replace(UNKNOWN_ID, "ID")


# At the same time.


def at_once(session: Session, bodies: list[dict[str, Any]]) -> list[Any]:
    """The answers to patches that start at the same moment, a connection for each."""
    bearer, barrier = token("alice"), Barrier(len(bodies))

    def send(body: dict[str, Any]) -> Any:
        try:
            connection.ensure_connection()
            barrier.wait(timeout=30)
            return Api(bearer).send("PATCH", path(session), body)
        finally:
            connection.close()

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(send, bodies))


def test_a_patch_merges_into_what_it_finds_under_the_lock(agent: Api, session: Session) -> None:
    # The second has read the session already, and waits for the lock, when the first one's change commits.
    def send(body: dict[str, Any]) -> Callable[[], Any]:
        return lambda: Api(bearer).send("PATCH", path(session), body)

    bearer = token("alice")
    with service_connection() as holder, holder.transaction():
        holder.execute("SELECT 1 FROM sessions WHERE id = %s FOR NO KEY UPDATE", [session.id])
        first = in_a_thread(send({"metadata": {"first": 1}}))
        second = in_a_thread(send({"metadata": {"second": 2}}))
        _wait_for_waiters(2)
    assert {first.result(5).status_code, second.result(5).status_code} == {200}
    assert stored(session.id)["metadata"] == {"quarter": "Q4", "first": 1, "second": 2}
    assert_chain_holds(session)


def _wait_for_waiters(count: int) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + 5
    with superuser_connection() as watcher:
        while (row := watcher.execute(waiting).fetchone()) is None or row[0] < count:
            assert time.monotonic() < deadline, "They do not wait."
            time.sleep(0.002)


def test_patches_of_different_keys_at_once_all_survive(session: Session) -> None:
    answers = at_once(session, [{"metadata": {f"key-{n}": n, "shared": {f"key-{n}": n}}} for n in range(12)])
    assert [answer.status_code for answer in answers] == [200] * 12
    kept = {f"key-{n}": n for n in range(12)}
    assert stored(session.id)["metadata"] == {"quarter": "Q4", **kept, "shared": kept}
    assert sorted(answer.json()["version"] for answer in answers) == list(range(2, 14))
    assert_chain_holds(session)


def test_patches_at_once_do_not_outgrow_the_limit_together(session: Session) -> None:
    answers = at_once(session, [{"metadata": {f"key-{n}": "x" * 20_000}} for n in range(6)])
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 400, 400, 400]
    assert documents.size(stored(session.id)["metadata"]) <= documents.MAX_BYTES
    assert_chain_holds(session)
