"""A whole run's log, at its most talkative, holds none of the secrets that went through the service."""

import json
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

import pytest
from django.contrib.auth.hashers import make_password

from orchestrator.people.models import Person
from tests.api import token
from tests.faults.harness import Service, serving
from tests.gunicorn_server import HERE, environment
from tests.orchestrator.tokens import saying

pytestmark = pytest.mark.django_db(transaction=True)
TALKATIVE = {"LOG_LEVEL": "debug", "ADMIN_PASSWORD_LOGIN": "on"}


class Secrets:
    """Whatever must not be read in a log, by what it is."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def new(self, name: str, value: str | None = None) -> str:
        """Another one, random unless it is given."""
        assert name not in self.known
        self.known[name] = value or f"{name.replace(' ', '-')}-{secrets.token_urlsafe(12)}"
        return self.known[name]

    def found_in(self, text: str) -> list[str]:
        """Those that stand there, whole, encoded for an address, or, of a token, in part."""
        return [name for name, value in self.known.items() if any(form in text for form in _forms(value))]


def _forms(value: str) -> Iterator[str]:
    yield from (value, quote(value, safe=""), json.dumps(value)[1:-1])
    if value.count(".") == 2:
        yield from (part for part in value.split(".") if len(part) > 8)


class Caller:
    """Calls a service as a stranger's client would, byte by byte where need be."""

    def __init__(self, service: Service) -> None:
        parts = urlsplit(service.base)
        self.address = (str(parts.hostname), int(parts.port or 0))
        self.asked = 0

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, Any, bytes]:
        """Status, headers and content of the answer."""
        known = {"Host": "localhost", "Connection": "close", "Content-Length": str(len(body)), **headers}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in known.items()), "", ""]
        head, _, content = self.raw("\r\n".join(lines).encode() + body).partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        self.asked += 1
        return int(first.split()[1]), [line.partition(": ")[::2] for line in rest], content

    def raw(self, sent: bytes) -> bytes:
        """The answer to these bytes."""
        with socket.create_connection(self.address, timeout=30) as connection:
            connection.sendall(sent)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def api(self, method: str, path: str, bearer: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """A call of the API, with what it answered."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        known = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json", **named}
        status, _, content = self.send(method, path, known, b"" if body is None else json.dumps(body).encode())
        return status, json.loads(content) if content else None


def lines_of(text: str) -> list[dict[str, Any]]:
    """Each line of the log is a JSON object, gunicorn's own ones too."""
    return [json.loads(line) for line in text.splitlines()]


def work(caller: Caller, hidden: Secrets) -> None:
    """Sessions, a task and its lease, keys first seen, replayed and misused; tokens of every kind."""
    finn = hidden.new("finn's token", token("finn"))
    mona = hidden.new("mona's token", token("mona", agent_roles="manager"))
    opened = {"agent_role": "finance", "metadata": {"password": hidden.new("password in a body")}}
    key = hidden.new("key")
    assert caller.api("POST", "/sessions", finn, opened, Idempotency_Key=key)[0] == 201
    assert caller.api("POST", "/sessions", finn, opened, Idempotency_Key=key)[0] == 201
    assert caller.api("POST", "/sessions", finn, {"agent_role": "finance"}, Idempotency_Key=key)[0] == 422
    malformed = f"{hidden.new('malformed key')},x"
    assert caller.api("POST", "/sessions", finn, opened, Idempotency_Key=malformed)[0] == 400
    routed = {"target": "finance", "task": {"task_type": "routing"}}
    assert caller.api("POST", "/tasks/route", mona, routed, Idempotency_Key=hidden.new("key of a task"))[0] == 202
    status, claimed = caller.api("POST", "/tasks/claim", finn, {})
    assert (status, len(claimed["tasks"])) == (200, 1)
    task = claimed["tasks"][0]
    lease = {"lease_token": hidden.new("lease token", task["lease"]["token"])}
    where = f"/tasks/{task['task_id']}"
    assert caller.api("POST", f"{where}/heartbeat", finn, lease)[0] == 200
    stale = {"lease_token": hidden.new("stale lease token")}
    assert caller.api("POST", f"{where}/complete", finn, stale)[0] == 409
    assert caller.api("POST", f"{where}/complete", finn, lease, Idempotency_Key=hidden.new("key of an end"))[0] == 200
    broken = json.dumps(opened).encode() + b"}"
    bearer = {"Authorization": f"Bearer {finn}", "Content-Type": "application/json"}
    assert caller.send("POST", "/sessions", bearer, broken)[0] == 400
    assert caller.api("GET", f"/sessions?{hidden.new('name of a parameter')}=1", finn)[0] == 400


def strangers(caller: Caller, hidden: Secrets) -> None:
    """Tokens that are none, and credentials where none belong."""
    bad = {
        "forged token": f"{token()[:-8]}AAAAAAAA",
        "expired token": saying(exp=1)(),
        "token of another audience": saying(aud="another")(),
        "no token": f"no.token.{secrets.token_hex(16)}",
    }
    for name, bearer in bad.items():
        assert caller.api("GET", "/sessions", hidden.new(name, bearer))[0] == 401
    good = hidden.new("token in the wrong place", token("wanda"))
    assert caller.api("GET", f"/sessions?access_token={good}", "x")[0] == 401
    assert caller.send("GET", "/sessions", {"Cookie": f"token={good}"})[0] == 401
    assert caller.send("GET", f"/status?token={good}", {"Authorization": f"Basic {hidden.new('basic')}"})[0] == 200
    assert caller.send("GET", "/metrics", {"Authorization": f"Bearer {hidden.new('wrong metrics token')}"})[0] == 401
    # What gunicorn cannot read it refuses by itself, and quotes in what it says.
    for line in (f"Authorization Bearer {good}", f"Authorization: Bearer {good}\x00", f"Bad {good}: 1"):
        told = caller.raw(f"GET /sessions HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n".encode())
        assert told.startswith(b"HTTP/1.1 400")
    assert caller.raw(f"GET /sessions?token={good} x y\r\n\r\n".encode()).startswith(b"HTTP/1.1 400")
    assert caller.raw(f"GET /sessions?token={good}\x01 HTTP/1.1\r\n\r\n".encode()).startswith(b"HTTP/1.1 400")


def break_glass(caller: Caller, hidden: Secrets) -> None:
    """A login by password, wrong and right, and the cookies that it gives."""
    right = hidden.new("password")
    root = Person.objects.create_superuser(f"root-{uuid4()}", "root@example.com")
    root.password, name = make_password(right, hasher="pbkdf2_sha256"), root.username
    root.save(update_fields=["password"])
    for n, (password, expected) in enumerate([(hidden.new("wrong password"), 200), (right, 302)]):
        _, told, page = caller.send("GET", "/admin/login/", {})
        csrf = hidden.new(f"CSRF cookie {n}", _cookie(told, "csrftoken"))
        form = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.decode())[0]
        hidden.new(f"CSRF token {n}", form)
        sent = urlencode({"username": name, "password": password, "csrfmiddlewaretoken": form})
        headers = {
            "Cookie": f"csrftoken={csrf}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Referer": "http://localhost/admin/login/",
            "Origin": "http://localhost",
        }
        status, told, _ = caller.send("POST", "/admin/login/?next=/admin/", headers, sent.encode())
        assert status == expected
    session = hidden.new("session cookie", _cookie(told, "sessionid"))
    assert caller.send("GET", "/admin/", {"Cookie": f"sessionid={session}"})[0] == 200


def _cookie(headers: Any, name: str) -> str:
    cookies = [value for header, value in headers if header == "Set-Cookie" and value.startswith(f"{name}=")]
    return str(cookies[0].partition("=")[2].partition(";")[0])


@pytest.mark.slow
def test_what_goes_through_the_service_is_not_in_its_log() -> None:
    hidden = Secrets()
    given = {
        "SECRET_KEY": "only for tests",
        "METRICS_TOKEN": hidden.new("metrics token"),
        "REDIS_URL": f"redis://:{hidden.new('password of Redis')}@127.0.0.1:1/0",
    }
    with serving(workers=1, **TALKATIVE, **given) as service:
        caller = Caller(service)
        work(caller, hidden)
        strangers(caller, hidden)
        break_glass(caller, hidden)
        scraped = caller.send("GET", "/metrics", {"Authorization": f"Bearer {given['METRICS_TOKEN']}"})
        assert scraped[0] == 200
        assert hidden.found_in(scraped[2].decode()) == []
        told = service.said()
    assert hidden.found_in(told) == []
    lines = lines_of(told)
    requests = [line for line in lines if line["event"] == "request"]
    assert len(requests) == caller.asked
    assert all({"request_id", "trace_id", "span_id", "route", "status"} <= line.keys() for line in requests)
    assert len({line["subject"] for line in requests if "subject" in line}) == 3
    assert {"token refused", "redis failed", "scrape refused"} <= {line["event"] for line in lines}
    assert len([line for line in lines if line["logger"] == "gunicorn.error"]) == 5


@pytest.mark.slow
def test_what_is_away_does_not_bring_its_credentials_into_the_log() -> None:
    hidden = Secrets()
    database = f"postgresql://somebody:{hidden.new('password of the database')}@127.0.0.1:1/nowhere"
    provider = {
        "OIDC_ISSUER_URL": "http://127.0.0.1:1",
        "OIDC_AUDIENCE": "orchestrator",
        "OIDC_RP_CLIENT_ID": "orchestrator",
        "OIDC_RP_CLIENT_SECRET": hidden.new("client secret"),
    }
    with serving(database, workers=1, **TALKATIVE) as service:
        caller = Caller(service)
        for path in ("/health", "/readyz"):
            assert caller.send("GET", path, {})[0] == 503
        key = {"Idempotency_Key": hidden.new("key")}
        assert caller.api("POST", "/sessions", hidden.new("token", token()), {"agent_role": "finance"}, **key)[0] == 503
        without_database = service.said()
    with serving(workers=1, **TALKATIVE, **provider) as service:
        caller = Caller(service)
        assert caller.api("GET", "/sessions", hidden.new("theirs", saying(iss="http://127.0.0.1:1")()))[0] == 503
        asked = urlencode({"code": hidden.new("code"), "state": hidden.new("state")})
        assert caller.send("GET", f"/oidc/callback/?{asked}", {"Cookie": f"sessionid={hidden.new('cookie')}"})[0] >= 400
        without_provider = service.said()
    done = subprocess.run(
        [sys.executable, "manage.py", "sweep"],
        cwd=HERE,
        env={**environment(), **TALKATIVE, "WORKER_DATABASE_URL": database},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr
    for told in (without_database, without_provider, done.stdout, done.stderr):
        assert hidden.found_in(told) == []
    for told, event in (
        (without_database, "Service Unavailable: /sessions"),
        (without_provider, "keys could not be fetched"),
    ):
        assert event in {line["event"] for line in lines_of(told)}
