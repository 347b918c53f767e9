"""docs/api/audit.md: what it says is so."""

import json
import re

import pytest

from audit_app.filters import EVENT_FILTERS, SUBJECTS
from audit_app.serializers import EVENT_NAMES, EventOut, IngestBody
from audit_app.trail import Action
from audit_app.urls import router
from audit_app.views import ORDER
from orchestrator.actors import Kind, Via
from orchestrator.catalogue import catalogue
from orchestrator.pagination import PARAMETERS
from tests.api import token
from tests.contract.pages import (
    anchors,
    calls,
    calls_there_are,
    fields,
    page,
    parameters,
    refusals,
    section,
    statuses,
    table,
)
from tests.contract.shown import assert_answers_as_shown, snippets
from tests.gunicorn_server import serving

AUDIT = page("docs/api/audit.md")


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_each_snippet_answers_as_it_shows() -> None:
    bearer = token("alice", roles="agent,operator,auditor", agent_roles="finance")
    with serving() as base:
        assert_answers_as_shown(AUDIT, base, TOKEN=bearer)


def test_each_snippet_is_followed_by_what_it_answers() -> None:
    assert {kind for _, kind, _ in snippets(AUDIT)} == {"http", "text"}


def test_the_examples_show_answers_and_refusals() -> None:
    assert sorted(statuses(AUDIT)) == [
        *[("GET", status) for status in ("200", "400", "403")],
        *[("POST", status) for status in ("202", "400")],
    ]


def test_each_call_has_an_example() -> None:
    for title in re.findall(r"^\| \[`\w+ \S+`\]\(#([\w-]+)\)", AUDIT, re.MULTILINE):
        [named] = [name for name in re.findall(r"^## (.+)$", AUDIT, re.MULTILINE) if anchors(f"## {name}") == {title}]
        assert snippets(section(AUDIT, named)), named


def test_has_every_call() -> None:
    there = [calls_there_are(noun, router, "/audit") for noun in ("events", "export", "ingest")]
    assert calls(AUDIT) == set().union(*there)


def test_tells_every_event_type_with_what_it_means_and_no_other() -> None:
    told = [tuple(row) for row in table(section(AUDIT, "Event types"))]
    assert told == [(f"`{action}`", action.means) for action in Action]


def test_has_every_field_of_an_event() -> None:
    assert fields(AUDIT, "The event") == list(EVENT_NAMES)
    assert set(EventOut().fields) == set(EVENT_NAMES)


@pytest.mark.parametrize(
    ("field", "words"), [("subject_type", SUBJECTS), ("actor_kind", Kind.values), ("via", Via.values)]
)
def test_has_every_word_that_a_field_may_be(field: str, words: list[str]) -> None:
    [told] = [row[2] for row in table(section(AUDIT, "The event")) if row[0] == f"`{field}`"]
    assert re.findall(r"`(\w+)`", told) == list(words)


def test_has_every_field_of_a_body() -> None:
    assert sorted(fields(AUDIT, "Hand in")) == sorted(IngestBody().fields)


def test_has_every_query_parameter() -> None:
    assert sorted(parameters(AUDIT, "List")) == sorted([*EVENT_FILTERS, *PARAMETERS, ORDER])
    told = [name for cell in parameters(AUDIT, "Export") for name in re.findall(r"\w+", cell)]
    assert sorted(told) == sorted([*EVENT_FILTERS, "format"])


def test_names_refusals_that_there_are() -> None:
    known = {(str(kind.status), kind.slug) for kind in catalogue()}
    told = refusals(AUDIT)
    assert len(told) == 9
    assert set(told) <= known


def test_the_bodies_that_are_shown_are_json() -> None:
    for _, kind, text in snippets(AUDIT):
        if kind == "http" and "\n\n" in text:
            json.loads(text.partition("\n\n")[2])
