"""docs/api/approvals.md: what it says is so."""

import json
import re
from typing import Any

import pytest

from orchestrator.catalogue import catalogue
from orchestrator.pagination import PARAMETERS
from sessions_app.earlier_requests import MOST
from sessions_app.filters import APPROVAL_FILTERS
from sessions_app.models.approval import (
    MAX_OPEN,
    MAX_OPEN_BARE,
    MAX_USE_WITHIN_SECONDS,
    MIN_USE_WITHIN_SECONDS,
    MOST_REQUIRED,
)
from sessions_app.models.decision import SetAside
from sessions_app.serializers.approval import (
    LONGEST,
    SHORTEST,
    USUAL,
    ApprovalOut,
    CommentsBody,
    ConsumeBody,
    DecisionByTaskBody,
    DecisionOut,
    EarlierOut,
    RequestBody,
)
from sessions_app.serializers.task import ReasonBody
from sessions_app.views import waiting
from sessions_app.views.approval import ASSIGNEE
from tests.api import token
from tests.contract.pages import anchors, calls, calls_there_are, fields, page, parameters, refusals, section, statuses
from tests.contract.shown import assert_answers_as_shown, snippets
from tests.gunicorn_server import serving

APPROVALS = page("docs/api/approvals.md")
BODIES = {
    "Request": RequestBody,
    "Decide by task": DecisionByTaskBody,
    "Approve": CommentsBody,
    "Reject": CommentsBody,
    "Withdraw": CommentsBody,
    "Cancel": ReasonBody,
    "Consume": ConsumeBody,
}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_each_snippet_answers_as_it_shows() -> None:
    bearer = token("alice", roles="agent,operator,auditor", agent_roles="finance")
    with serving() as base:
        assert_answers_as_shown(APPROVALS, base, TOKEN=bearer)


def test_each_snippet_is_followed_by_what_it_answers() -> None:
    assert {kind for _, kind, _ in snippets(APPROVALS)} == {"http", "text"}


def test_the_examples_show_answers_and_refusals() -> None:
    assert sorted(statuses(APPROVALS)) == [
        *[("GET", status) for status in ("304", "400", "404")],
        *[("POST", status) for status in ("200", "201", "202", "403", "409")],
    ]


def test_each_call_has_an_example() -> None:
    titles = re.findall(r"^\| \[`\w+ \S+`\]\(#([\w-]+)\)", APPROVALS, re.MULTILINE)
    assert len(titles) == len(set(titles)) == len(calls(APPROVALS)) + 1  # one call asks, or decides
    for title in titles:
        [named] = [
            name for name in re.findall(r"^## (.+)$", APPROVALS, re.MULTILINE) if anchors(f"## {name}") == {title}
        ]
        assert snippets(section(APPROVALS, named)), named


def test_has_every_call() -> None:
    assert calls(APPROVALS) == calls_there_are("approvals")


def test_has_every_field_of_an_approval() -> None:
    assert fields(APPROVALS, "The approval") == list(ApprovalOut().fields)


def test_has_every_field_of_a_decision() -> None:
    assert _members("decisions") == list(DecisionOut().fields)


def test_has_every_field_of_an_earlier_request() -> None:
    assert _members("earlier") == list(EarlierOut().fields)


def _members(name: str) -> list[str]:
    [cell] = re.findall(rf"^\| `{name}` \| list \| .* each has (.*) \|$", APPROVALS, re.MULTILINE)
    return re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", cell))


def test_says_why_a_decision_may_be_set_aside() -> None:
    [reasons] = re.findall(r"`set_aside_reason` \((.*?);", APPROVALS)
    assert re.findall(r"`([\w-]+)`", reasons) == list(SetAside.values)


@pytest.mark.parametrize("title", BODIES)
def test_has_every_field_of_a_body(title: str) -> None:
    body: Any = BODIES[title]()
    assert sorted(fields(APPROVALS, title)) == sorted(body.fields)


def test_has_the_bounds_and_the_defaults() -> None:
    text = section(APPROVALS, "Request")
    assert f"a whole number from 1 to {MOST_REQUIRED}: how many" in text
    assert re.search(
        rf"^\| `expires_in_seconds` \| .* from {SHORTEST} to {LONGEST}: .* \| {USUAL} \|$", text, re.MULTILINE
    )
    assert (
        f"| `use_within_seconds` | a whole number from {MIN_USE_WITHIN_SECONDS} to {MAX_USE_WITHIN_SECONDS}: " in text
    )
    assert f"at most {MAX_OPEN} requests are open" in text
    assert f"{MAX_OPEN_BARE} open requests" in text
    assert f"at most {MOST}:" in section(APPROVALS, "The approval")


def test_has_every_query_parameter() -> None:
    assert sorted(parameters(APPROVALS, "List")) == sorted([*APPROVAL_FILTERS, *PARAMETERS, ASSIGNEE])
    assert sorted(parameters(APPROVALS, "Read and wait")) == sorted(waiting.PARAMETERS)


def test_names_refusals_that_there_are() -> None:
    known = {(str(kind.status), kind.slug) for kind in catalogue()}
    told = refusals(APPROVALS)
    assert len(told) > 35
    assert set(told) <= known


def test_the_bodies_that_are_shown_are_json() -> None:
    for _, kind, text in snippets(APPROVALS):
        if kind == "http" and "\n\n" in text:
            json.loads(text.partition("\n\n")[2])
