"""docs/api/tasks.md: what it says is so."""

import json
import re
from typing import Any

import pytest

from orchestrator.catalogue import catalogue
from orchestrator.pagination import PARAMETERS
from sessions_app.filters import TASK_FILTERS
from sessions_app.models.attempt import AttemptOutcome
from sessions_app.models.task import DEFAULT_ATTEMPTS, DEFAULT_PRIORITY, MOST_ATTEMPTS
from sessions_app.queue import FAR
from sessions_app.serializers.lease import (
    LEASE_SECONDS,
    ClaimBody,
    CompleteBody,
    FailBody,
    HeartbeatBody,
    ReleaseBody,
)
from sessions_app.serializers.task import AttemptOut, NeededReasonBody, NewTaskBody, ReasonBody, RouteBody, TaskOut
from sessions_app.views import waiting
from sessions_app.views.including import PARAMETER
from tests.api import token
from tests.contract.pages import anchors, calls, calls_there_are, fields, page, parameters, refusals, section, statuses
from tests.contract.shown import assert_answers_as_shown, snippets
from tests.gunicorn_server import serving

TASKS = page("docs/api/tasks.md")
BODIES = {
    "Route": RouteBody,
    "Create": NewTaskBody,
    "Claim": ClaimBody,
    "Heartbeat": HeartbeatBody,
    "Complete": CompleteBody,
    "Fail": FailBody,
    "Release": ReleaseBody,
    "Force-release": NeededReasonBody,
    "Cancel": ReasonBody,
    "Retry": ReasonBody,
}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_each_snippet_answers_as_it_shows() -> None:
    bearer = token("alice", roles="agent,operator,auditor", agent_roles="finance")
    with serving() as base:
        assert_answers_as_shown(TASKS, base, TOKEN=bearer)


def test_each_snippet_is_followed_by_what_it_answers() -> None:
    assert {kind for _, kind, _ in snippets(TASKS)} == {"http", "text"}


def test_the_examples_show_answers_and_refusals() -> None:
    assert sorted(statuses(TASKS)) == [
        ("DELETE", "409"),
        *[("GET", status) for status in ("304", "400", "404")],
        *[("POST", status) for status in ("200", "202", "400", "403", "409")],
    ]


def test_each_call_has_an_example() -> None:
    for title in re.findall(r"^\| \[`\w+ \S+`\]\(#([\w-]+)\)", TASKS, re.MULTILINE):
        [named] = [name for name in re.findall(r"^## (.+)$", TASKS, re.MULTILINE) if anchors(f"## {name}") == {title}]
        assert snippets(section(TASKS, named)), named


def test_has_every_call() -> None:
    assert calls(TASKS) == calls_there_are("tasks")


def test_has_every_field_of_a_task() -> None:
    told = fields(TASKS, "The task")
    assert told == list(TaskOut().fields)


def test_has_every_field_of_an_attempt() -> None:
    [told] = re.findall(r"^An attempt has (.*?)\. The outcome is (.*?), or null", TASKS, re.MULTILINE | re.DOTALL)
    assert [re.findall(r"`([\w-]+)`", part) for part in told] == [
        list(AttemptOut().fields),
        [outcome for outcome in re.findall(r"`([\w-]+)`", told[1]) if outcome in AttemptOutcome.values],
    ]
    assert set(re.findall(r"`([\w-]+)`", told[1])) == set(AttemptOutcome.values)


@pytest.mark.parametrize("title", BODIES)
def test_has_every_field_of_a_body(title: str) -> None:
    body: Any = BODIES[title]()
    assert sorted(fields(TASKS, title)) == sorted(body.fields)


def test_has_the_defaults() -> None:
    defaults = dict(re.findall(r"^\| `(\w+)` \| .* \| (\d+) \|$", section(TASKS, "Create"), re.MULTILINE))
    assert defaults == {"priority": str(DEFAULT_PRIORITY), "max_attempts": str(DEFAULT_ATTEMPTS)}
    assert f"a whole number from 1 to {MOST_ATTEMPTS}" in section(TASKS, "Create")
    assert f"and from each heartbeat | {LEASE_SECONDS} |" in section(TASKS, "Claim")
    assert f"just taking, as far as the\nfirst {FAR:,}." in section(TASKS, "Claim")


def test_has_every_query_parameter() -> None:
    assert sorted(parameters(TASKS, "List")) == sorted([*TASK_FILTERS, *PARAMETERS, "limit"])
    assert sorted(parameters(TASKS, "Read and wait")) == sorted([*waiting.PARAMETERS, PARAMETER])


def test_names_refusals_that_there_are() -> None:
    known = {(str(kind.status), kind.slug) for kind in catalogue()}
    told = refusals(TASKS)
    assert len(told) > 40
    assert set(told) <= known


def test_the_bodies_that_are_shown_are_json() -> None:
    for _, kind, text in snippets(TASKS):
        if kind == "http" and "\n\n" in text:
            json.loads(text.partition("\n\n")[2])
