"""docs/api/sessions.md and docs/operations.md: what they say is so."""

import io
import json
import shlex
from typing import Any

import pytest
from django.core.management import call_command, load_command_class

from orchestrator.catalogue import catalogue
from orchestrator.pagination import PARAMETERS
from sessions_app.filters import METADATA, SESSION_FILTERS
from sessions_app.serializers.session import NewSessionBody, SessionBody, SessionPatchBody, session_out
from tests.api import token
from tests.contract.pages import calls, calls_there_are, fields, page, parameters, refusals, statuses, table
from tests.contract.shown import assert_answers_as_shown, assert_like, snippets
from tests.gunicorn_server import serving
from tests.sessions_app.session_calls import overdue_session, session_in

SESSIONS, OPERATIONS = page("docs/api/sessions.md"), page("docs/operations.md")
DJANGO_OWN = {"help", "version", "verbosity", "settings", "pythonpath", "traceback", "no_color", "force_color"}
DJANGO_OWN |= {"skip_checks"}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_each_snippet_of_the_api_answers_as_it_shows() -> None:
    bearer = token("alice", roles="agent,operator,auditor", agent_roles="finance")
    overdue = str(overdue_session("active").id)
    with serving() as base:
        assert_answers_as_shown(SESSIONS, base, TOKEN=bearer, OVERDUE=overdue)
        assert_answers_as_shown(page("docs/api/README.md"), base, TOKEN=bearer)


@pytest.mark.django_db(transaction=True)
def test_each_command_of_operations_says_what_it_shows() -> None:
    session_in("active")
    for state in ("pending", "active", "pending"):
        overdue_session(state)
    for snippet, _, shown in snippets(OPERATIONS):
        said = io.StringIO()
        for line in snippet.splitlines():
            call_command(*shlex.split(line.removeprefix(".venv/bin/python manage.py ")), stdout=said)
        assert_like(shown.splitlines(), said.getvalue().splitlines(), snippet)


def test_each_snippet_is_followed_by_what_it_answers() -> None:
    for document in (SESSIONS, OPERATIONS):
        assert {kind for _, kind, _ in snippets(document)} <= {"http", "text"}


def test_the_examples_show_answers_and_refusals_of_every_call() -> None:
    assert sorted(statuses(SESSIONS)) == [
        *[("DELETE", status) for status in ("204", "409")],
        *[("GET", status) for status in ("200", "304", "400", "404")],
        ("PATCH", "200"),
        *[("POST", status) for status in ("201", "400", "403")],
        *[("PUT", status) for status in ("200", "409", "412")],
    ]


def test_has_every_call() -> None:
    assert calls(SESSIONS) == calls_there_are("sessions")


@pytest.mark.django_db(transaction=True)
def test_has_every_field_of_a_session() -> None:
    assert fields(SESSIONS, "The session") == list(session_out(session_in("pending")))


@pytest.mark.parametrize(
    ("title", "body"), [("Open", NewSessionBody), ("Move and change", SessionBody), ("Patch", SessionPatchBody)]
)
def test_has_every_field_of_a_body(title: str, body: Any) -> None:
    assert sorted(fields(SESSIONS, title)) == sorted(body().fields)


def test_has_every_query_parameter() -> None:
    assert sorted(parameters(SESSIONS, "List")) == sorted([*SESSION_FILTERS, *PARAMETERS, f"{METADATA}<path>"])


def test_names_refusals_that_there_are() -> None:
    known = {(str(kind.status), kind.slug) for kind in catalogue()}
    told = refusals(SESSIONS)
    assert len(told) > 15
    assert set(told) <= known


@pytest.mark.parametrize("name", ["expire_sessions", "sweep"])
def test_has_every_option_of_a_command(name: str) -> None:
    parser = load_command_class("sessions_app", name).create_parser("manage.py", name)
    there = {action.option_strings[0] for action in parser._actions if action.dest not in DJANGO_OWN}
    options = table("| option |" + OPERATIONS.partition("| option |")[2].partition("\n\n")[0])
    assert {option.strip("`").split()[0] for option, commands, _ in options if f"`{name}`" in commands} == there


def test_the_bodies_that_are_shown_are_json() -> None:
    for _, kind, text in snippets(SESSIONS):
        if kind == "http" and "\n\n" in text:
            json.loads(text.partition("\n\n")[2])
