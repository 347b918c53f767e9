"""What the proxy adds, and what it refuses by itself: in the service's own shape."""

import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from audit_app.models import AuditEvent
from orchestrator.problems import (
    BadRequest,
    BodyTooLarge,
    MethodNotAllowed,
    NotFound,
    Problem,
    ServiceUnavailable,
    TooManyRequests,
)
from orchestrator.proxy_problems import BadGateway, GatewayTimeout, HeadersTooLarge, UriTooLong
from orchestrator.settings import MAX_BODY_BYTES
from tests.api import token
from tests.deploy.instance import wait_until
from tests.deploy.nginx import FILES, NO_LIMITS, Nginx, proxying
from tests.gunicorn_server import free_port, serving

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def nowhere() -> Iterator[Nginx]:
    """Before an instance that is not there: what comes is nginx's own."""
    with proxying([free_port()], {"limits.conf": NO_LIMITS}) as nginx:
        yield nginx


def ask(
    nginx: Nginx, method: str, path: str, body: bytes = b"", source: str = "127.0.0.1", **headers: str
) -> tuple[HTTPResponse, Any]:
    connection = HTTPConnection(nginx.host, timeout=20, source_address=(source, 0))
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"Content-Type": "application/json", **named})
        answer = connection.getresponse()
        text = answer.read()
        return answer, json.loads(text) if text else None
    finally:
        connection.close()


def assert_tells(told: tuple[HTTPResponse, Any], kind: Problem) -> None:
    """It is that problem: the same members, words and headers as where the service tells it."""
    answer, document = told
    request_id = answer.headers["X-Request-Id"]
    assert document == {
        "type": f"/problems/{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": kind.detail,
        "request_id": request_id,
        **kind.members,
    }
    assert (answer.status, answer.headers["Content-Type"]) == (kind.status, "application/problem+json")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert len(request_id) >= 8
    for name, value in kind.headers.items():
        assert answer.headers[name] == value


def test_a_service_that_is_not_there_is_told_as_a_problem(nowhere: Nginx) -> None:
    assert_tells(ask(nowhere, "GET", "/status"), BadGateway())


def test_an_answer_names_the_request_as_its_caller_did(nowhere: Nginx) -> None:
    assert ask(nowhere, "GET", "/status", X_Request_Id="my-own-id.1")[1]["request_id"] == "my-own-id.1"
    wait_until(lambda: '"request_id":"my-own-id.1"' in nowhere.said())
    strange = ask(nowhere, "GET", "/status", X_Request_Id='"}, {"')[1]["request_id"]
    assert strange.isalnum()


def test_a_body_that_is_too_large_is_refused_before_it_is_read(nowhere: Nginx) -> None:
    with socket.create_connection(("127.0.0.1", nowhere.port), timeout=20) as raw:
        raw.sendall(f"POST /sessions HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n".encode())
        answer = HTTPResponse(raw)
        answer.begin()
        assert_tells((answer, json.loads(answer.read())), BodyTooLarge(MAX_BODY_BYTES))


def test_an_address_that_is_too_long_is_a_problem(nowhere: Nginx) -> None:
    assert_tells(ask(nowhere, "GET", "/sessions?x=" + "x" * 4000), UriTooLong())
    assert_tells(ask(nowhere, "GET", "/" + "x" * 13000), UriTooLong())


def test_a_method_that_nginx_refuses_by_itself_is_a_problem(nowhere: Nginx) -> None:
    with socket.create_connection(("127.0.0.1", nowhere.port), timeout=20) as raw:
        raw.sendall(b"TRACE /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = HTTPResponse(raw)
        answer.begin()
        assert_tells((answer, json.loads(answer.read())), MethodNotAllowed())
    assert "GET" in answer.headers["Allow"]


def test_pages_for_people_and_files_are_compressed_and_answers_of_the_api_are_not() -> None:
    def coding(path: str) -> tuple[int, str | None]:
        connection = HTTPConnection(nginx.host, timeout=20)
        headers = {"Accept-Encoding": "gzip", "Authorization": f"Bearer {token('alice', ttl=600)}"}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, answer.headers["Content-Encoding"]

    with serving() as base, proxying([port_of(base)]) as nginx:
        assert coding("/admin/login/") == (200, "gzip")
        assert coding("/static/admin/css/base.css") == (200, "gzip")
        # Both are longer than what is not worth compressing.
        assert coding("/api-docs/openapi.json") == (200, None)
        assert coding("/problems") == (200, None)


def test_headers_that_are_too_large_are_a_problem(nowhere: Nginx) -> None:
    assert_tells(ask(nowhere, "GET", "/status", X_Long="x" * 13000), HeadersTooLarge())


@pytest.mark.parametrize("path", ["/metrics", "/metrics?x=1", "/%6detrics", "//metrics", "/x/../metrics"])
def test_nobody_scrapes_through_it(nowhere: Nginx, path: str) -> None:
    assert_tells(ask(nowhere, "GET", path), NotFound())


@pytest.mark.parametrize("sent", [b"GET /status HTTP/1.1\r\nHost: x y\r\n\r\n", b"nonsense\r\n\r\n"])
def test_what_is_no_request_is_a_problem(nowhere: Nginx, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", nowhere.port), timeout=20) as raw:
        raw.sendall(sent)
        answer = HTTPResponse(raw)
        answer.begin()
        assert_tells((answer, json.loads(answer.read())), BadRequest())


def test_an_address_that_calls_too_often_is_a_problem_and_others_are_not() -> None:
    limits = NO_LIMITS.replace("10000r/s", "1r/m") + "limit_req zone=requests;\n"
    with proxying([free_port()], {"limits.conf": limits}) as nginx:
        assert ask(nginx, "GET", "/status")[0].status == 502
        assert_tells(ask(nginx, "GET", "/status"), TooManyRequests(1, {}))
        assert ask(nginx, "GET", "/status", source="127.0.0.9")[0].status == 502


def test_a_service_that_takes_too_long_is_a_problem() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        impatient = (FILES / "forward.conf").read_text().replace("proxy_read_timeout 60s", "proxy_read_timeout 1s")
        replaced = {"limits.conf": NO_LIMITS, "forward.conf": impatient}
        with proxying([silent.getsockname()[1]], replaced) as nginx:
            assert_tells(ask(nginx, "POST", "/sessions", b"{}"), GatewayTimeout())


def test_what_goes_wrong_within_the_proxy_is_a_problem(tmp_path: Path) -> None:
    """Here a body that it can write nowhere."""
    with proxying([free_port()], {"limits.conf": NO_LIMITS + "client_body_in_file_only on;\n"}) as nginx:
        (nginx.folder / "bodies").rename(nginx.folder / "gone")
        assert_tells(ask(nginx, "POST", "/sessions", b"{}"), ServiceUnavailable())


def test_the_service_s_own_answers_pass_as_they_are() -> None:
    with serving() as base, proxying([port_of(base)]) as nginx:
        answer, document = ask(nginx, "GET", "/sessions", X_Request_Id="my-own-id.2")
        assert (answer.status, document["type"]) == (401, "/problems/unauthenticated")
        assert (document["instance"], document["request_id"]) == ("/sessions", "my-own-id.2")
        assert answer.headers["WWW-Authenticate"]
        assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"]


def test_the_trail_has_the_address_that_a_caller_came_from_and_not_the_one_it_claims() -> None:
    with serving(TRUSTED_PROXIES="127.0.0.1/32") as base, proxying([port_of(base)]) as nginx:
        bearer = f"Bearer {token('alice', ttl=600)}"
        body = b'{"agent_role": "finance"}'
        claimed = {"Authorization": bearer, "X_Forwarded_For": "198.51.100.7"}
        answer, session = ask(nginx, "POST", "/sessions", body, source="127.0.0.9", **claimed)
        assert answer.status == 201
    event = AuditEvent.objects.get(subject_id=session["session_id"])
    assert json.loads(event.body)["ip"] == "127.0.0.9"


def test_slow_callers_hold_no_thread_of_the_service() -> None:
    """Many more than there are threads, each in the middle of its body."""
    with serving(WEB_CONCURRENCY="1", WEB_THREADS="2") as base, ExitStack() as open_calls:
        nginx = open_calls.enter_context(proxying([port_of(base)], {"limits.conf": NO_LIMITS}))
        for _ in range(20):
            raw = open_calls.enter_context(socket.create_connection(("127.0.0.1", nginx.port), timeout=20))
            raw.sendall(b"POST /sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        began = time.monotonic()
        assert ask(nginx, "GET", "/status")[0].status == 200
        # A thread that waits for a body does so for five seconds.
        assert time.monotonic() - began < 4


def test_a_query_is_in_no_log_even_where_the_service_is_away(nowhere: Nginx) -> None:
    ask(nowhere, "GET", "/oidc/callback/?code=a-login-s-code&state=x")
    wait_until(lambda: '"path":"/oidc/callback/"' in nowhere.said())
    assert "a-login-s-code" not in nowhere.said()


def test_with_a_certificate_it_speaks_tls_and_says_so(tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.pem", tmp_path / "tls.key"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run([*made, *named, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    port = free_port()
    tls = (FILES / "tls.conf").read_text().replace("listen 8443", f"listen 127.0.0.1:{port}")
    tls = tls.replace("/run/secrets/tls_certificate", "tls.pem").replace("/run/secrets/tls_key", "tls.key")
    files = {"tls.pem": certificate.read_text(), "tls.key": key.read_text(), "limits.conf": NO_LIMITS}
    with serving(TRUSTED_PROXIES="127.0.0.0/8") as base, proxying([port_of(base)], files, beside=tls):
        trusting = ssl.create_default_context(cafile=str(certificate))
        connection = HTTPSConnection("localhost", port, timeout=20, context=trusting)
        connection.request("GET", "/status")
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        connection.close()


def port_of(base: str) -> int:
    return int(base.rpartition(":")[2])
