"""Pages: what a query asks for, and what a cursor is good for."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.core import signing

from orchestrator import pagination
from orchestrator.pagination import LARGEST, USUAL, Wanted
from orchestrator.problems import InvalidRequest
from sessions_app.models import Session
from tests import seeding


def refused_fields(refusal: pytest.ExceptionInfo[InvalidRequest]) -> list[str]:
    listed = refusal.value.members["errors"]
    assert isinstance(listed, list)
    return [error["field"] for error in listed]


# What a query asks for.


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, Wanted(USUAL, 1, None)),
        ({"page": "3", "page_size": "7"}, Wanted(7, 3, None)),
        ({"page": "0"}, Wanted(USUAL, 1, None)),
        ({"page": "-5", "page_size": "-5"}, Wanted(1, 1, None)),
        ({"page_size": "0"}, Wanted(1, 1, None)),
        ({"page_size": "101"}, Wanted(LARGEST, 1, None)),
        ({"page": "9" * 28}, Wanted(USUAL, int("9" * 28), None)),
        ({"cursor": ""}, Wanted(USUAL, None, "")),
        ({"cursor": "x", "page_size": "7"}, Wanted(7, None, "x")),
        ({"status": "pending"}, Wanted(USUAL, 1, None)),
    ],
)
def test_reads_what_is_asked_for(query: dict[str, str], expected: Wanted) -> None:
    assert pagination.wanted(query) == expected


def test_refuses_what_is_no_number_and_a_page_with_a_cursor() -> None:
    for query, field in (
        ({"page": "one"}, "page"),
        ({"page_size": "1.5"}, "page_size"),
        ({"cursor": "", "page_size": ""}, "page_size"),
        ({"cursor": "", "page": "1"}, "cursor"),
    ):
        with pytest.raises(InvalidRequest) as refusal:
            pagination.wanted(query)
        assert refused_fields(refusal) == [field]


# Pages, of any rows with a moment and an id.


def page(scope: str, *, cursor: str | None = "", number: int | None = None, size: int = 2) -> dict[str, Any]:
    asked = Wanted(size, number, cursor if number is None else None)
    return pagination.page(
        Session.objects.all(), asked, name="rows", scope=scope, shapes=lambda rows: [row.pk for row in rows]
    )


@pytest.fixture
def rows(transactional_db: None) -> list[UUID]:
    """Five, newest first."""
    return [row.pk for row in reversed(seeding.sessions(5))]


def test_a_page_stands_under_its_name(rows: list[UUID]) -> None:
    first = page("list")
    assert set(first) == {"rows", "page_size", "next_cursor"}
    assert first["rows"] == rows[:2]
    numbered = page("list", number=3)
    assert numbered == {"rows": rows[4:], "total": 5, "page": 3, "page_size": 2, "next_cursor": None}


def test_a_cursor_is_good_for_its_own_list_and_filters_alone(rows: list[UUID]) -> None:
    mine = json.dumps(["sessions", "default", []])
    cursor = page(mine)["next_cursor"]
    assert page(mine, cursor=cursor)["rows"] == rows[2:4]
    for scope in (
        json.dumps(["tasks", "default", []]),
        json.dumps(["sessions", "other", []]),
        json.dumps(["sessions", "default", [["status", "pending"]]]),
        "",
        "list",
    ):
        with pytest.raises(InvalidRequest) as refusal:
            page(scope, cursor=cursor)
        assert refused_fields(refusal) == ["cursor"]


def test_what_else_the_service_signs_is_no_cursor(rows: list[UUID]) -> None:
    place = [0, rows[0].hex]
    for signed in (
        signing.dumps(place),
        signing.dumps(place, salt="cursor"),
        signing.dumps(place, salt="list"),
        signing.dumps(place, salt="cursor:list", key="another key of the same length as any"),
    ):
        with pytest.raises(InvalidRequest):
            page("list", cursor=signed)


def test_a_cursor_keeps_moments_to_the_microsecond(transactional_db: None) -> None:
    rows = [row.pk for row in reversed(seeding.sessions(6, apart=timedelta(microseconds=1)))]
    cursor, found = "", []
    while cursor is not None:
        shown = page("list", cursor=cursor, size=1)
        found += shown["rows"]
        cursor = shown["next_cursor"]
    assert found == rows


def test_the_last_page_has_no_cursor_even_if_it_is_full(rows: list[UUID]) -> None:
    assert page("list", size=5)["next_cursor"] is None
    assert page("list", number=1, size=5)["next_cursor"] is None
    assert page("list", size=4)["next_cursor"] is not None
