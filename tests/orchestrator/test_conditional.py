"""If-Match, If-None-Match and ETag."""

import pytest
from django.http import HttpRequest
from django.test import RequestFactory

from orchestrator import conditional
from orchestrator.problems import InvalidRequest

MALFORMED = (
    *("2", '"2', '2"', "'2'", "W/2", 'w/"2"', 'W/ "2"'),
    *('*, "2"', '"2", *', '"2" "3"', '"2"3', '"2";"3"'),
    *('" 2"', '"2 "', '"\t"'),
)


def matching(tags: str) -> HttpRequest:
    return RequestFactory().put("/", headers={"If-Match": tags})


def not_matching(tags: str) -> HttpRequest:
    return RequestFactory().get("/", headers={"If-None-Match": tags})


def test_a_version_in_quotes_is_a_strong_tag() -> None:
    assert conditional.etag(7) == '"7"'


def test_a_request_without_the_header_takes_any_version() -> None:
    assert conditional.if_match(RequestFactory().put("/")) is None
    assert conditional.matches_none(RequestFactory().get("/"), 1) is False


@pytest.mark.parametrize("tags", ["*", " * "])
def test_a_write_with_if_none_match_star_takes_no_version_of_an_existing_row(tags: str) -> None:
    for more in ({}, {"If-Match": '"7"'}, {"If-Match": "*"}):
        request = RequestFactory().put("/", headers={"If-None-Match": tags, **more})
        assert conditional.if_match(request) == frozenset()


@pytest.mark.parametrize("tags", ['"7"', 'W/"7"', '"7", *', "7", ""])
def test_a_write_with_another_if_none_match_is_refused(tags: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        conditional.if_match(RequestFactory().put("/", headers={"If-None-Match": tags}))
    assert refusal.value.members["errors"] == [{"field": "If-None-Match", "message": "On a write it must be *."}]


@pytest.mark.parametrize("tags", ["*", " * "])
def test_a_star_takes_any_version(tags: str) -> None:
    assert conditional.if_match(matching(tags)) is None
    assert conditional.matches_none(not_matching(tags), 7) is True


@pytest.mark.parametrize(
    ("tags", "versions"),
    [
        ('"7"', {7}),
        (' "7" ', {7}),
        ('"7", "8"', {7, 8}),
        ('"7","8"\t,\t"9"', {7, 8, 9}),
        ('"7",', {7}),
        (f'"{2**31 - 1}"', {2**31 - 1}),
    ],
)
def test_if_match_names_versions(tags: str, versions: set[int]) -> None:
    assert conditional.if_match(matching(tags)) == frozenset(versions)


# RFC 9110, section 13.1.1: If-Match compares strongly, so a weak tag is equal to nothing.
@pytest.mark.parametrize(("tags", "versions"), [('W/"7"', set()), ('W/"7", "8"', {8}), ('"8", W/"7"', {8})])
def test_if_match_passes_over_weak_tags(tags: str, versions: set[int]) -> None:
    assert conditional.if_match(matching(tags)) == frozenset(versions)


# Section 8.8.3.2: tags are equal character by character, so only the form that we send is a version.
@pytest.mark.parametrize("tag", ["", "x", "07", "007", "+7", "-7", "7.0", "7e0", "7-gzip", "²", "9" * 5000, "a,b"])
def test_a_tag_that_we_never_sent_is_no_version(tag: str) -> None:
    assert conditional.if_match(matching(f'"{tag}"')) == frozenset()
    assert conditional.if_match(matching(f'"{tag}", "7"')) == frozenset({7})
    for version in (2, 7):
        assert conditional.matches_none(not_matching(f'"{tag}"'), version) is False


@pytest.mark.parametrize("tags", ['"7"', 'W/"7"', '"6", "7"', '"6",W/"7"', '"x", "7"'])
def test_if_none_match_compares_weakly(tags: str) -> None:
    assert conditional.matches_none(not_matching(tags), 7) is True
    assert conditional.matches_none(not_matching(tags), 8) is False


@pytest.mark.parametrize("tags", MALFORMED)
def test_refuses_what_is_no_list_of_tags_and_names_the_header(tags: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        conditional.if_match(matching(tags))
    assert refusal.value.members["errors"] == [
        {"field": "If-Match", "message": 'It must be "<version>", in quotes, or *.'}
    ]
    with pytest.raises(InvalidRequest) as refusal:
        conditional.matches_none(not_matching(tags), 9)
    assert refusal.value.members["errors"] == [
        {"field": "If-None-Match", "message": 'It must be "<version>", in quotes, or *.'}
    ]


# Section 5.6.1.2: a recipient takes a list with empty elements.
@pytest.mark.parametrize("tags", [', "7"', '"6",, "7"', '"6", ,"7"'])
def test_takes_a_list_with_empty_elements(tags: str) -> None:
    assert conditional.if_match(matching(tags)) == frozenset({7} if tags.startswith(",") else {6, 7})
    assert conditional.matches_none(not_matching(tags), 7) is True


def test_a_long_header_is_read_in_no_time() -> None:
    assert conditional.if_match(matching(", ".join(['"1"'] * 1000))) == frozenset({1})
    with pytest.raises(InvalidRequest):
        conditional.if_match(matching(" " * 8000 + "x"))
