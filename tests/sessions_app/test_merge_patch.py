"""Merge patches, by the table of examples in RFC 7396, appendix A."""

import json
from copy import deepcopy
from typing import Any

import pytest

from orchestrator import documents
from orchestrator.problems import InvalidRequest
from tests.api import Api
from tests.sessions_app.session_calls import path, session_in, stored

APPENDIX_A: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]
"""Original, patch, result."""

BEYOND: list[tuple[Any, Any, Any]] = [
    ({"a": 1}, {}, {"a": 1}),
    ({"a": {"b": {"c": 1, "d": 2}, "e": 3}}, {"a": {"b": {"c": None}}}, {"a": {"b": {"d": 2}, "e": 3}}),
    ({"a": 1}, {"a": {"b": None}}, {"a": {}}),
    ({"a": None}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}),
    ({"a": [1, {"b": None}]}, {"a": [{"c": None}, None]}, {"a": [{"c": None}, None]}),
    ({"a": 1}, {"a": False}, {"a": False}),
    ({"a": True}, {"a": 1}, {"a": 1}),
    ({"": {"": 1}}, {"": {"": None, "x": ""}}, {"": {"x": ""}}),
    ({"a": 1, "A": 2}, {"a": None}, {"A": 2}),
]
"""What the table leaves unsaid and section 2 says."""


def text(value: Any) -> str:
    """Told apart as JSON is: in Python 1 == True."""
    return json.dumps(value, sort_keys=True)


@pytest.mark.parametrize(("original", "patch", "result"), [*APPENDIX_A, *BEYOND], ids=text)
def test_merges_as_the_rfc_says(original: Any, patch: Any, result: Any) -> None:
    before = deepcopy((original, patch))
    assert text(documents.merge_patch(original, patch)) == text(result)
    assert text((original, patch)) == text(before)


def test_patching_again_changes_nothing_more() -> None:
    for original, patch, result in [*APPENDIX_A, *BEYOND]:
        assert text(documents.merge_patch(documents.merge_patch(original, patch), patch)) == text(result)


@pytest.mark.django_db(transaction=True)
def test_a_session_is_patched_as_the_rfc_says(agent: Api) -> None:
    session = session_in("active")
    for original, patch, result in [*APPENDIX_A, *BEYOND]:
        agent.put(path(session), {"metadata": {"document": original, "beside": [None]}})
        answer = agent.send("PATCH", path(session), {"metadata": {"document": patch}})
        assert answer.status_code == 200, answer.content
        # Within an object, null is not a value but a removal.
        expected = {"beside": [None]} if patch is None else {"document": result, "beside": [None]}
        assert text(answer.json()["metadata"]) == text(expected)
        assert text(stored(session.id)["metadata"]) == text(expected)


def of_size(count: int) -> dict[str, str]:
    """A document of that many bytes."""
    return {"a": "x" * (count - len('{"a":""}'))}


def test_a_merged_document_may_have_sixty_four_kibibytes() -> None:
    target = of_size(40_000)
    room = documents.MAX_BYTES - 40_000 - len(',"b":""')
    assert documents.size(documents.merged("metadata", target, {"b": "y" * room})) == documents.MAX_BYTES
    with pytest.raises(InvalidRequest) as refusal:
        documents.merged("metadata", target, {"b": "y" * (room + 1)})
    errors = refusal.value.members["errors"]
    assert isinstance(errors, list)
    assert [error["field"] for error in errors] == ["metadata"]


def test_the_size_is_counted_in_bytes_and_not_in_signs() -> None:
    assert documents.size({"a": "ü😀"}) == len('{"a":"ü😀"}'.encode()) == 8 + 6
    with pytest.raises(InvalidRequest):
        documents.merged("metadata", {"a": "ü" * 20_000}, {"b": "ü" * 13_000})


def test_what_is_removed_makes_room() -> None:
    full = of_size(documents.MAX_BYTES)
    assert documents.merged("metadata", full, {"a": None, "b": "y" * 60_000}) == {"b": "y" * 60_000}


def test_a_merged_document_may_have_ten_thousand_values() -> None:
    half = [0] * 4_998
    merged = documents.merged("metadata", {"a": half}, {"b": half})
    assert (len(merged["a"]), len(merged["b"])) == (4_998, 4_998)
    with pytest.raises(InvalidRequest):
        documents.merged("metadata", {"a": half}, {"b": [*half, *[0] * 6]})
