"""Every refusal is application/problem+json (RFC 9457), whoever refuses and however deep."""

import gzip
import io
import json
import uuid
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator import urls
from orchestrator.catalogue import catalogue
from orchestrator.problems import Problem, ServiceUnavailable
from orchestrator.views import ApiView
from tests.api import Api, token
from tests.orchestrator.served import served

SECRET = "postgresql://owner:hunter2@db.internal"  # what an exception may say and an answer may not
UNKNOWN = uuid.UUID(int=0)


def fails(request: HttpRequest) -> HttpResponse:
    raise RuntimeError(SECRET)


def forbids(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied(SECRET)


def suspects(request: HttpRequest) -> HttpResponse:
    raise SuspiciousOperation(SECRET)


class Failing(ApiView):
    """Fails in a read and in a write."""

    def get(self, request: Request) -> Response:
        raise RuntimeError(SECRET)

    def post(self, request: Request) -> Response:
        raise RuntimeError(SECRET)


# The service's own paths, and some that fail: ROOT_URLCONF=__name__ serves them.
urlpatterns = [
    *urls.urlpatterns,
    path("fails", fails),
    path("forbids", forbids),
    path("suspects", suspects),
    path("failing", Failing.as_view()),
]
handler400, handler403 = urls.handler400, urls.handler403
handler404, handler500 = urls.handler404, urls.handler500
failing_paths = override_settings(ROOT_URLCONF=__name__)


def assert_problem(answer: Any, status: int, slug: str) -> dict[str, Any]:
    """The members that every problem has."""
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = json.loads(answer.content)
    kind = next(kind for kind in catalogue() if kind.slug == slug)
    assert document["type"] == f"/problems/{slug}"
    assert document["title"] == kind.title
    assert document["status"] == status == kind.status
    assert document["detail"]
    assert document["instance"] == answer.request["PATH_INFO"]
    assert document["request_id"] == answer.headers["X-Request-Id"]
    assert SECRET not in answer.content.decode()
    return dict(document)


@pytest.fixture
def session_path(agent: Api) -> str:
    """Where a session is that the agent opened."""
    return str(agent.post("/sessions", {"agent_role": "finance"}).headers["Location"])


def test_401_says_how_to_authenticate() -> None:
    answer = Api(None).get("/sessions/1")
    assert_problem(answer, 401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="orchestrator"'


def test_403_for_a_caller_without_a_known_role() -> None:
    assert_problem(Api(token(roles="cook")).get("/sessions/1"), 403, "forbidden")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
@pytest.mark.parametrize("unknown", ["/nowhere", "/sessions/", "/sessions/1/x", "/status/", "/problems/a/b"])
def test_404_where_there_is_no_path(agent: Api, method: str, unknown: str) -> None:
    answer = agent.send(method, unknown)
    assert answer.status_code == 404
    if method != "HEAD":
        assert_problem(answer, 404, "not-found")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE"])
@pytest.mark.parametrize(
    "plain", ["/", "/status", "/health", "/livez", "/readyz", "/problems", "/problems/not-found", "/problems/nothing"]
)
def test_405_on_plain_views_names_what_they_take(method: str, plain: str) -> None:
    answer = Api(None).send(method, plain)
    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    "plain", ["/", "/status", "/health", "/livez", "/readyz", "/problems", "/problems/nothing", "/api-docs"]
)
def test_options_on_plain_views_names_what_they_take(plain: str) -> None:
    answer = Api(None).send("OPTIONS", plain)
    assert (answer.status_code, answer.content) == (204, b"")
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.django_db(transaction=True)
def test_options_on_api_views_answers_what_allow_says(agent: Api, session_path: str) -> None:
    for where in ("/sessions", "/tasks", "/approvals", session_path):
        answer = agent.send("OPTIONS", where)
        assert (answer.status_code, answer.content) == (204, b"")
        refused = agent.send("PURGE", where)
        assert refused.status_code == 405
        assert answer.headers["Allow"] == refused.headers["Allow"]
        assert "OPTIONS" in answer.headers["Allow"]


def test_options_needs_a_token_where_other_methods_do() -> None:
    assert_problem(Api(None).send("OPTIONS", "/sessions"), 401, "unauthenticated")


@pytest.mark.django_db(transaction=True)
def test_405_on_api_views_names_what_they_take(agent: Api, session_path: str) -> None:
    for method, where, takes in (
        ("POST", session_path, {"GET", "PUT"}),
        ("PURGE", session_path, {"GET", "PUT"}),
        ("PUT", "/sessions", {"POST"}),
        ("DELETE", "/sessions", {"POST"}),
    ):
        answer = agent.send(method, where)
        assert_problem(answer, 405, "method-not-allowed")
        allowed = set(answer.headers["Allow"].split(", "))
        assert allowed >= takes
        assert method not in allowed


@pytest.mark.django_db(transaction=True)
def test_400_names_the_fields(agent: Api) -> None:
    document = assert_problem(agent.post("/sessions", {"metadata": [], "ttl_seconds": "5"}), 400, "invalid-request")
    assert {error["field"] for error in document["errors"]} == {"agent_role", "metadata", "ttl_seconds"}
    assert all(error["message"] for error in document["errors"])


def test_400_for_an_unknown_query_parameter(agent: Api) -> None:
    document = assert_problem(agent.get(f"/sessions/{UNKNOWN}?color=red"), 400, "invalid-request")
    assert [error["field"] for error in document["errors"]] == ["color"]


def test_400_for_more_query_parameters_than_anybody_needs(agent: Api) -> None:
    assert_problem(agent.get(f"/sessions/{UNKNOWN}?" + "a=1&" * 1001), 400, "bad-request")


@pytest.mark.django_db(transaction=True)
def test_404_for_a_row_that_is_not_there_or_not_theirs_is_the_same(session_path: str) -> None:
    stranger = Api(token("eve", agent_roles="sales"))
    documents = [
        assert_problem(stranger.get(where), 404, "not-found") for where in (session_path, f"/sessions/{UNKNOWN}")
    ]
    for document in documents:
        document.pop("request_id")
        document.pop("instance")
    assert documents[0] == documents[1]


@pytest.mark.django_db(transaction=True)
def test_409_and_412_tell_what_the_state_is(agent: Api, session_path: str) -> None:
    document = assert_problem(agent.put(session_path, {"status": "completed"}), 409, "illegal-transition")
    assert (document["from"], document["to"], document["allowed"]) == ("pending", "completed", ["active", "expired"])
    document = assert_problem(agent.put(session_path, {"status": "active"}, If_Match='"7"'), 412, "precondition-failed")
    assert document["current_version"] == 1


def test_413_and_415(agent: Api) -> None:
    assert_problem(agent.send_raw("POST", "/sessions", b" " * (1024 * 1024 + 1)), 413, "body-too-large")
    assert_problem(agent.send_raw("POST", "/sessions", b"<a/>", "text/xml"), 415, "unsupported-media-type")


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "x"])
def test_a_compressed_body_is_a_415_that_says_which_coding_is_taken(agent: Api, coding: str) -> None:
    body = gzip.compress(b'{"agent_role": "finance"}')
    answer = agent.send_raw("POST", "/sessions", body, "application/json", **{"Content-Encoding": coding})
    assert_problem(answer, 415, "unsupported-media-type")
    assert answer.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "local_host", "localhost:80:80", "a b", ""])
@pytest.mark.parametrize("where", ["/status", "/sessions/1", "/nowhere"])
def test_400_for_a_host_that_is_not_ours(agent: Api, where: str, host: str) -> None:
    assert agent.get(where, Host="localhost:8088").json().get("type") != "/problems/bad-request"
    document = assert_problem(agent.get(where, Host=host), 400, "bad-request")
    assert "evil" not in document["detail"]


@failing_paths
@pytest.mark.parametrize(
    ("where", "status", "slug"), [("/forbids", 403, "forbidden"), ("/suspects", 400, "bad-request")]
)
def test_what_django_refuses_is_told_in_our_shape(agent: Api, where: str, status: int, slug: str) -> None:
    assert_problem(agent.get(where), status, slug)


@failing_paths
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("where", ["/fails", "/failing"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_exception_is_a_500_that_tells_nothing(
    agent: Api, caplog: pytest.LogCaptureFixture, where: str, method: str
) -> None:
    answer = agent.send(method, where)
    document = assert_problem(answer, 500, "internal-error")
    assert set(document) == {"type", "title", "status", "detail", "instance", "request_id"}
    assert [record.exc_info for record in caplog.records if record.name == "django.request"]


def test_every_problem_has_a_number_a_slug_and_a_sentence() -> None:
    kinds = list(catalogue())
    assert set(kinds) == {*Problem.__subclasses__(), *ServiceUnavailable.__subclasses__()}
    assert len({kind.slug for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert 400 <= kind.status <= 599
        assert kind.slug == kind.slug.lower().strip()
        assert kind.title
        assert kind.title.rstrip(".") == kind.title
        assert kind.__doc__


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset*=nope''x", "application/json; charset*=utf-8''%00", "a/b; *=''", ";", "/"],
)
def test_a_media_type_that_cannot_be_read_is_a_415(content_type: str) -> None:
    status, headers, body = served("POST", "/nowhere", io.BytesIO(b"{}"), CONTENT_TYPE=content_type, CONTENT_LENGTH="2")
    assert (status, headers["Content-Type"]) == (415, "application/problem+json")
    assert json.loads(body)["type"] == "/problems/unsupported-media-type"
