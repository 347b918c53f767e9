"""An instance takes a request and is gone before it answers: what the proxy sends to the next has its effect once."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from audit_app.models import AuditEvent
from sessions_app.models import Session
from tests.api import token
from tests.deploy.losing import Relay, losing
from tests.deploy.nginx import NO_LIMITS, Nginx, proxying
from tests.deploy.test_proxy import ask, port_of
from tests.gunicorn_server import serving

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@contextmanager
def losing_instances() -> Iterator[tuple[Nginx, Relay, dict[str, str]]]:
    """Two names of one instance behind a relay that loses answers, and what a caller sends along."""
    caller = {"Authorization": f"Bearer {token('alice', ttl=600)}"}
    with (
        serving() as base,
        losing(port_of(base)) as relay,
        proxying([relay.port, relay.port], {"limits.conf": NO_LIMITS}) as nginx,
    ):
        yield nginx, relay, caller


def test_a_put_without_a_key_is_sent_again_under_one_and_answered_as_the_first_was() -> None:
    with losing_instances() as (nginx, relay, caller):
        opened, session = ask(nginx, "POST", "/sessions", b'{"agent_role": "finance"}', **caller)
        relay.to_lose = 1
        path, etag = f"/sessions/{session['session_id']}", opened.headers["ETag"]
        answer, moved = ask(nginx, "PUT", path, b'{"status": "active"}', **caller, If_Match=etag)
    assert (answer.status, answer.headers["Idempotent-Replayed"], moved["status"]) == (200, "true", "active")
    none, first, second = relay.keys()
    assert none is None
    assert first
    assert first == second
    assert AuditEvent.objects.filter(subject_id=session["session_id"]).count() == 2


def test_a_delete_without_a_key_is_too_and_each_has_a_key_of_its_own() -> None:
    with losing_instances() as (nginx, relay, caller):
        relay.to_lose = 1
        path = "/sessions/01a21fb0-23e7-7351-a93a-93427398fbc4?reason=old"
        assert ask(nginx, "DELETE", path, b"", **caller)[0].status == 404
        assert ask(nginx, "DELETE", path, b"", **caller)[0].status == 404
        relay.to_lose = 2
        answer, problem = ask(nginx, "DELETE", path, b"", **caller)
    assert (answer.status, problem["type"]) == (502, "/problems/bad-gateway")
    first, again, other, *_ = relay.keys()
    assert first == again
    assert first != other


def test_keys_of_the_caller_s_stay_as_they_are() -> None:
    with losing_instances() as (nginx, relay, caller):
        ask(nginx, "PUT", "/sessions/x", b"{}", **caller, Idempotency_Key="my-own")
        ask(nginx, "GET", "/sessions", b"", **caller)
        answer, problem = ask(nginx, "POST", "/sessions", b"{}", **caller, Idempotency_Key="")
    assert (answer.status, problem["type"]) == (400, "/problems/invalid-request")
    assert relay.keys() == ["my-own", None, ""]


def test_a_post_without_a_key_is_not_sent_again() -> None:
    with losing_instances() as (nginx, relay, caller):
        relay.to_lose = 1
        answer, problem = ask(nginx, "POST", "/sessions", b'{"agent_role": "finance"}', **caller)
    assert (answer.status, problem["type"]) == (502, "/problems/bad-gateway")
    assert (relay.keys(), Session.objects.count()) == ([None], 1)
