"""gunicorn as production starts it: who outlasts whom, and whose word is taken on https."""

import runpy
from http.client import HTTPConnection
from typing import Any

import pytest

from orchestrator import roles
from tests.gunicorn_server import HERE, serving


def conf(monkeypatch: pytest.MonkeyPatch, **env: str) -> dict[str, Any]:
    for name in ("WEB_MAX_REQUESTS", "WEB_THREADS", "WEB_CONCURRENCY", "TRUSTED_PROXIES", "HOST", "PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(str(HERE / "docker" / "gunicorn.conf.py"))


def test_a_worker_outlasts_every_statement_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    known = conf(monkeypatch)
    slowest = int(roles.SERVICE_SETTINGS["statement_timeout"].removesuffix("s"))
    assert known["timeout"] > known["graceful_timeout"] > slowest


def test_workers_do_not_start_anew_together(monkeypatch: pytest.MonkeyPatch) -> None:
    known = conf(monkeypatch, WEB_MAX_REQUESTS="500")
    assert (known["max_requests"], known["max_requests_jitter"]) == (500, 50)


def test_half_of_the_threads_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    assert conf(monkeypatch, WEB_THREADS="24")["raw_env"][0] == "MOST_WAITING=12"


def test_how_many_may_wait_may_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert conf(monkeypatch, WEB_THREADS="24", MOST_WAITING="0")["raw_env"][0] == "MOST_WAITING=0"


@pytest.mark.parametrize(("threads", "exports"), [("1", 1), ("4", 1), ("24", 6)])
def test_a_quarter_of_the_threads_may_export(monkeypatch: pytest.MonkeyPatch, threads: str, exports: int) -> None:
    assert conf(monkeypatch, WEB_THREADS=threads)["raw_env"][1:] == [f"MAX_EXPORTS={exports}"]


def test_how_many_may_export_may_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert conf(monkeypatch, WEB_THREADS="24", MAX_EXPORTS="2")["raw_env"][1:] == ["MAX_EXPORTS=2"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("proxies", "believed"), [("127.0.0.0/8", True), ("192.0.2.0/24", False)])
def test_a_proxy_of_ours_alone_may_say_that_a_caller_came_by_https(proxies: str, believed: bool) -> None:
    with serving(TRUSTED_PROXIES=proxies, WEB_CONCURRENCY="1") as base:
        connection = HTTPConnection(base.removeprefix("http://"), timeout=10)
        connection.request("GET", "/status", headers={"X-Forwarded-Proto": "https"})
        answer = connection.getresponse()
        answer.read()
        connection.close()
    assert ("Strict-Transport-Security" in answer.headers) == believed
