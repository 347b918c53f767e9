"""Which paths need no token, and in which order a request is refused."""

import pytest
from django.conf import settings

from orchestrator.middleware import is_public
from tests.api import Api, token

# No database but where a row is asked for: whoever reached it would answer 500.

UNKNOWN_ROW = "/sessions/00000000-0000-0000-0000-000000000000"
TOO_LARGE = b" " * (1024 * 1024 + 1)
PUBLIC = [
    *("/", "/status", "/livez", "/problems", "/problems/not-found", "/problems/nothing", "/metrics"),
    *("/api-docs", "/api-docs/openapi.json", "/static/a.css", "/admin/", "/oidc/callback"),
]
PROTECTED = [
    *("/sessions", "/sessions/", "/sessions/1", UNKNOWN_ROW, "/tasks", "/approvals", "/audit/events", "/nowhere"),
    *("/status/", "/statusx", "/healthz", "/livez/x", "/Status", "/admin", "/oidc", "/static", "/problemsx", "/metric"),
    *(
        "/%2e",
        "/sessions?x=/status",
        "/index.html",
        "/favicon.ico",
        "/robots.txt",
        "/.well-known/x",
        "/é",
        "/a/../status",
    ),
]
BAD_TOKENS = {
    "no header": {},
    "an empty one": {"Authorization": ""},
    "another scheme": {"Authorization": "Basic YWxpY2U6c2VjcmV0"},
    "a scheme alone": {"Authorization": "Bearer"},
    "a scheme and spaces": {"Authorization": "Bearer   "},
    "no scheme": {"Authorization": "abc.def.ghi"},
    "a cookie": {"Cookie": "sessionid=abc; token=abc"},
}


@pytest.mark.parametrize("path", PUBLIC)
def test_a_public_path_needs_no_token_and_judges_none(path: str) -> None:
    for bearer in (None, "not a token"):
        answer = Api(bearer).get(path)
        assert answer.status_code not in (401, 500)
        assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
@pytest.mark.parametrize("path", PROTECTED)
def test_every_other_path_known_or_not_is_401_without_a_token(path: str, method: str) -> None:
    answer = Api(None).send(method, path)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="orchestrator"'
    assert answer.json()["type"] == "/problems/unauthenticated"


@pytest.mark.parametrize("path", ["/nowhere", "/index.html", "/status/", "/admin", "/problemsx"])
def test_with_a_token_an_unknown_path_is_404(agent: Api, path: str) -> None:
    assert agent.get(path).status_code == 404


@pytest.mark.parametrize("headers", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_what_is_no_bearer_token_is_none(agent: Api, headers: dict[str, str]) -> None:
    assert agent.get("/nowhere").status_code == 404
    assert Api(None).get("/nowhere", **headers).status_code == 401


def test_a_token_in_the_query_or_the_body_is_none() -> None:
    bearer = token()
    assert Api(None).get(f"/nowhere?access_token={bearer}").status_code == 401
    answer = Api(None).send_raw(
        "POST", "/nowhere", f"access_token={bearer}".encode(), "application/x-www-form-urlencoded"
    )
    assert answer.status_code == 401


def test_the_scheme_is_read_in_any_case() -> None:
    assert Api(None).get("/nowhere", Authorization=f"bEARER {token()}").status_code == 404


def test_a_path_is_not_made_public_by_where_the_service_is_mounted() -> None:
    # The name of the mount point comes before the path that is served, and some servers take it from a header.
    client = Api(None).client
    mounted = client.generic("POST", "/sessions", b"{}", "application/json", SCRIPT_NAME="/problems")
    assert mounted.status_code == 401


def test_one_tuple_says_what_is_public() -> None:
    assert isinstance(settings.PUBLIC_PATHS, tuple)
    assert all(is_public(path) for path in PUBLIC)
    assert not any(is_public(path) for path in PROTECTED if "?" not in path)


def test_size_comes_before_the_token() -> None:
    assert Api(None).send_raw("POST", "/sessions", TOO_LARGE, "text/plain").status_code == 413


def test_the_token_comes_before_the_media_type_and_the_json(agent: Api) -> None:
    assert Api(None).send_raw("POST", "/sessions", b"{", "text/plain").status_code == 401
    assert Api(None).send_raw("POST", "/sessions", b"{").status_code == 401
    assert agent.send_raw("POST", "/sessions", b"{").status_code == 400


def test_the_known_role_and_tenant_come_before_the_media_type() -> None:
    for stranger in (Api(token(roles="cook")), Api(token(tenant="a\nb"))):
        assert stranger.send_raw("POST", "/sessions", TOO_LARGE).status_code == 413
        assert stranger.send_raw("POST", "/sessions", b"{", "text/plain").status_code == 403


def test_the_media_type_comes_before_the_json(agent: Api) -> None:
    assert agent.send_raw("POST", "/sessions", b"{", "text/plain").status_code == 415
    assert agent.send_raw("POST", "/sessions", b"{}", "text/plain").status_code == 415


@pytest.mark.django_db(transaction=True)
def test_json_comes_before_shape_shape_before_the_row_and_the_row_before_its_state(agent: Api) -> None:
    bad_shape = b'{"status": "asleep"}'
    assert agent.send_raw("PUT", UNKNOWN_ROW, bad_shape + b"x").json()["type"] == "/problems/invalid-json"
    assert agent.send_raw("PUT", UNKNOWN_ROW, bad_shape).json()["type"] == "/problems/invalid-request"
    assert agent.put(UNKNOWN_ROW, {"status": "completed"}, If_Match='"9"').status_code == 404
    row = agent.post("/sessions", {"agent_role": "finance"}).headers["Location"]
    stranger, auditor = Api(token("eve", agent_roles="sales")), Api(token("aud", roles="auditor"))
    assert stranger.put(row, {"status": "completed"}, If_Match='"9"').status_code == 404
    assert auditor.put(row, {"status": "completed"}, If_Match='"9"').status_code == 403
    assert agent.put(row, {"status": "active"}, If_Match='"9"').status_code == 412
    assert agent.put(row, {"status": "completed"}).status_code == 409
