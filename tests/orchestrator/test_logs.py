"""Logs: a JSON object a line, named by the request, silent about what it carried."""

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from orchestrator import urls
from orchestrator.actors import Identity
from orchestrator.logs import JsonFormatter, Unquoted
from orchestrator.pseudonyms import pseudonym
from tests.api import Api, token

# No database: what is asked for here needs none.

SECRET = "hunter2-correct-horse"
LOGGERS = ("orchestrator", "django.request", "django.security")


def fails(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("it broke\non two lines")


# The service's own paths and one that fails: ROOT_URLCONF=__name__ serves them.
urlpatterns = [path("problems/fails", fails), *urls.urlpatterns]
handler400, handler403, handler404, handler500 = urls.handler400, urls.handler403, urls.handler404, urls.handler500


class Written:
    """What the log says, as it would stand on stderr."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        """Every line is a JSON object; those of one event, or all."""
        told = [json.loads(line) for line in self.text.splitlines()]
        return [line for line in told if event in ("", line["event"])]


@pytest.fixture
def written() -> Iterator[Written]:
    """The log of one test, at level INFO, through the formatter that the settings name."""
    log = Written()
    handler = logging.StreamHandler(log.stream)
    handler.setFormatter(JsonFormatter())
    before = [(logging.getLogger(name), logging.getLogger(name).level) for name in LOGGERS]
    for logger, _ in before:
        logger.addHandler(handler)
        logger.setLevel(
            min(logger.level or logging.INFO, logging.INFO) if logger.name == "orchestrator" else logger.level
        )
    yield log
    for logger, level in before:
        logger.removeHandler(handler)
        logger.setLevel(level)


def test_the_settings_write_json_to_stderr() -> None:
    logging_settings: Any = settings.LOGGING
    assert logging_settings["formatters"]["json"] == {"()": "orchestrator.logs.JsonFormatter"}
    assert logging_settings["handlers"]["stderr"] == {"class": "logging.StreamHandler", "formatter": "json"}
    assert logging_settings["root"]["handlers"] == ["stderr"]


def test_each_answer_is_one_line_that_names_the_request(written: Written) -> None:
    Api(None).get("/status", X_Request_Id="a-request", X_Trace_Id="a-trace")
    (line,) = written.lines()
    assert isinstance(line.pop("milliseconds"), float)
    assert re.fullmatch(r"[0-9a-f]{16}", line.pop("span_id"))
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request",
        "level": "info",
        "logger": "orchestrator.access",
        "request_id": "a-request",
        "trace_id": "a-trace",
        "method": "GET",
        "path": "/status",
        "route": "/status",
        "status": 200,
    }


def test_each_line_names_the_caller_by_a_word_that_only_we_can_lead_back(written: Written, agent: Api) -> None:
    agent.get("/sessions/1")
    Api(token("bob")).get("/sessions/1")
    Api(token("alice", agent_roles="legal")).get("/nowhere")
    Api("no token").get("/sessions/1")
    alice, bob = (pseudonym(Identity("local", subject)) for subject in ("alice", "bob"))
    assert [line.get("subject") for line in written.lines("request")] == [alice, bob, alice, None]
    assert alice != bob
    assert "alice" not in written.text
    assert call_command("pseudonym", "local", "alice", stdout=io.StringIO()) == alice
    pseudonym.cache_clear()
    with override_settings(SECRET_KEY="another"):
        assert pseudonym(Identity("local", "alice")) != alice
    pseudonym.cache_clear()


def test_a_line_about_a_refusal_says_which(written: Written, agent: Api) -> None:
    agent.get("/sessions/1")
    (line,) = written.lines("request")
    assert (line["status"], line["problem"], line["route"]) == (400, "invalid-request", "/sessions/{id}")


def test_a_line_names_the_span_of_the_caller_and_ours(written: Written) -> None:
    parent = "00f067aa0ba902b7"
    answer = Api(None).get("/status", traceparent=f"00-{'4b' * 16}-{parent}-01")
    (line,) = written.lines("request")
    assert (line["trace_id"], line["parent_id"]) == ("4b" * 16, parent)
    assert answer.headers["traceresponse"] == f"00-{'4b' * 16}-{line['span_id']}-01"


def test_neither_query_nor_credentials_nor_body_are_written(written: Written) -> None:
    bearer = token()
    caller = Api(bearer)
    caller.get(f"/status?secret={SECRET}")
    caller.get(f"/sessions/1?secret={SECRET}", Cookie=f"sessionid={SECRET}", X_Api_Key=SECRET)
    caller.send_raw("POST", "/sessions", json.dumps({"password": SECRET}).encode() + b"x")
    Api(f"{bearer}x{SECRET}").get("/sessions/1")
    Api(None).get("/sessions/1", Authorization=f"Basic {SECRET}")
    assert [line["status"] for line in written.lines("request")] == [200, 400, 400, 401, 401]
    assert SECRET not in written.text
    assert not [part for part in bearer.split(".") if part in written.text]
    assert "secret" not in written.text


def test_a_refused_token_is_told_with_its_reason_and_its_request(written: Written) -> None:
    answer = Api(None).get("/sessions/1", X_Request_Id="a-request")
    (line,) = written.lines("token refused")
    assert (line["logger"], line["request_id"], line["why"]) == ("orchestrator.auth", "a-request", "no bearer token")
    assert line["trace_id"] == answer.headers["X-Trace-Id"]


@pytest.mark.parametrize(
    ("said", "arguments", "kept"),
    [
        (f"Invalid request from ip=::1: Invalid HTTP Header: 'Bearer {SECRET}'", (), "Invalid HTTP Header"),
        (
            f"Invalid request from ip=::1: Invalid HTTP request line: b'GET /?a={SECRET}'",
            (),
            "Invalid HTTP request line",
        ),
        (f'Invalid request from ip=::1: Invalid HTTP Header: "it\'s\n{SECRET}"', (), "Invalid HTTP Header"),
        ("Error handling request %s %s", ("GET", f"/oidc/callback/?code={SECRET}"), "GET /oidc/callback/"),
        (
            "Worker (pid:%s) was sent %s! Perhaps out of memory?",
            (7, "SIGKILL"),
            "SIGKILL! Perhaps out of memory?",
        ),
    ],
)
def test_of_what_gunicorn_quotes_nothing_is_written(said: str, arguments: tuple[Any, ...], kept: str) -> None:
    record = logging.LogRecord("gunicorn.error", logging.WARNING, __file__, 1, said, arguments, None)
    assert Unquoted().filter(record)
    line = json.loads(JsonFormatter().format(record))
    assert kept in line["event"]
    assert SECRET not in json.dumps(line)
    assert line["event"].endswith(kept)


@override_settings(ROOT_URLCONF=__name__)
def test_a_fault_is_told_with_its_traceback_in_one_line_and_named(written: Written) -> None:
    answer = Api(None).get(f"/problems/fails?secret={SECRET}", X_Request_Id="a-request")
    assert answer.status_code == 500
    faults = [line for line in written.lines() if line["level"] == "error"]
    (fault,) = faults
    assert (fault["logger"], fault["request_id"]) == ("django.request", "a-request")
    assert "RuntimeError: it broke\non two lines" in fault["exception"]
    assert SECRET not in written.text
    assert [line["status"] for line in written.lines("request")] == [500]


def test_a_line_cannot_be_forged_by_what_is_asked_for(written: Written) -> None:
    Api(None).get('/nowhere%0A{"event": "forged"}', X_Request_Id='x\n{"event": "forged"}')
    assert {line["event"] for line in written.lines()} == {"token refused", "request"}
    (line,) = written.lines("request")
    assert line["path"] == '/nowhere\n{"event": "forged"}'


def test_what_other_libraries_log_is_json_too() -> None:
    record = logging.LogRecord("somebody", logging.WARNING, __file__, 1, "%d things\nhappened", (3,), None)
    record.colour = {"red", "green"}
    line = json.loads(JsonFormatter().format(record))
    assert (line["event"], line["level"], line["logger"]) == ("3 things\nhappened", "warning", "somebody")
    assert "red" in line["colour"]
