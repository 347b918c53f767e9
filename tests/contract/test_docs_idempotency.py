"""docs/idempotency.md: what it says is so."""

import re

import pytest

from orchestrator.catalogue import catalogue
from tests.api import token
from tests.contract.pages import section, table
from tests.contract.shown import BLOCK, assert_answered, assert_like, printed_by, snippets
from tests.gunicorn_server import HERE, serving

DOCUMENT = (HERE / "docs/idempotency.md").read_text(encoding="utf-8")
MATRIX = table(section(DOCUMENT, "What may fail, and where"))
TESTS: dict[str, str] = dict(re.findall(r"^(\d+)\. `(\S+)`$", DOCUMENT, re.MULTILINE))
STEPS = [row[0] for row in table(section(DOCUMENT, "How it is kept"))]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_each_snippet_answers_as_it_shows() -> None:
    blocks = BLOCK.findall(DOCUMENT)
    assert [kind for kind, _ in blocks] == ["sh", "text", "sh", "http"]
    with serving() as base:
        replayed, mismatch = printed_by([snippet for snippet, _, _ in snippets(DOCUMENT)], base, TOKEN=token("alice"))
    assert_like(blocks[1][1].splitlines(), replayed.splitlines(), "the same request again")
    assert len(set(re.findall("^Location: (.*)$", replayed, re.MULTILINE))) == 1
    assert_answered(blocks[3][1], mismatch, "another request")


def test_each_cell_of_the_matrix_names_a_test_that_there_is() -> None:
    assert len(MATRIX) >= 8
    assert len({len(row) for row in MATRIX}) == 1
    named = set()
    for fault, *cells in MATRIX:
        for cell in cells:
            numbers = re.findall(r"\[(\d+)\]", cell)
            assert numbers or cell == "–", f"{fault}: {cell!r} names no test"
            named.update(numbers)
    assert named == set(TESTS)
    for test in TESTS.values():
        path, _, name = test.partition("::")
        assert f"\ndef {name}(" in (HERE / path).read_text(encoding="utf-8"), test


def test_the_steps_are_those_that_the_code_speaks_of() -> None:
    assert [f"S{n}" for n in range(10)] == STEPS
    sources = [path.read_text() for path in (HERE / "orchestrator" / "idempotency").rglob("*.py")]
    spoken = {step for source in sources for step in re.findall(r"\bS\d+\b", source)}
    assert spoken
    assert spoken <= set(STEPS)


def test_the_refusals_it_names_are_refusals_of_the_service() -> None:
    statuses = {kind.slug: kind.status for kind in catalogue()}
    for status, slug in re.findall(r"(\d{3}) `([a-z-]+)`", DOCUMENT):
        assert statuses[slug] == int(status)
    [told] = re.findall(r"Any other refusal is not \(([\d, ]+)\)", DOCUMENT)
    assert {int(status) for status in told.split(", ")} == {*statuses.values()} - {409}


def test_the_settings_are_those_that_the_service_reads() -> None:
    read = (HERE / "orchestrator/settings.py").read_text()
    told = {row[0].strip("`") for row in table(section(DOCUMENT, "For operators"))}
    assert told == set(re.findall(r'"((?:IDEMPOTENCY|REDIS)_\w+)"', read))
