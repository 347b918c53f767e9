"""docs/idempotency.md: what it says is so."""

import re
import shlex
import tomllib
from importlib import import_module

import pytest

from orchestrator.catalogue import catalogue
from tests.api import token
from tests.contract.pages import section, table
from tests.contract.shown import BLOCK, assert_answered, assert_like, printed_by, snippets
from tests.gunicorn_server import HERE, serving

DOCUMENT = (HERE / "docs/idempotency.md").read_text(encoding="utf-8")
MATRIX = table(section(DOCUMENT, "What may fail, and where"))
TESTS: dict[str, str] = dict(re.findall(r"^(\d+)\. `(\S+)`$", DOCUMENT, re.MULTILINE))
TARGETS: dict[str, str] = dict(re.findall(r"`make ([a-z-]+)` runs ([\d–, and]+):", DOCUMENT))
_PYTEST = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
EVERYDAY = shlex.split(_PYTEST["addopts"])[-1]
MAKEFILE = (HERE / "Makefile").read_text(encoding="utf-8")
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


@pytest.mark.parametrize("target", TARGETS)
def test_what_it_says_a_target_runs_is_what_that_target_runs(target: str) -> None:
    assert {TESTS[number] for number in numbers(TARGETS[target])} == run_by(target)


def test_each_test_of_the_matrix_is_run_by_a_target() -> None:
    assert {number for told in TARGETS.values() for number in numbers(told)} == set(TESTS)


def numbers(told: str) -> set[str]:
    """`1–3, 7 and 9` told one by one."""
    bounds = [part.split("–") for part in re.split(", | and ", told)]
    return {str(n) for first, *last in bounds for n in range(int(first), int((last or [first])[0]) + 1)}


def run_by(target: str) -> set[str]:
    """Those of the matrix that pytest picks when it is called as the Makefile calls it."""
    [recipe] = re.findall(rf"^{target}:.*\n\t@exec \$\(BIN\)/python -m pytest (.*)$", MAKEFILE, re.MULTILINE)
    words = shlex.split(recipe)
    roots = tuple(f"{word}/" for word in words if word.startswith("tests")) or ("tests/",)
    but = words[words.index("-m") + 1] if "-m" in words else EVERYDAY
    assert re.fullmatch(r"not \w+( and not \w+)*", but)
    left_out = set(re.findall(r"not (\w+)", but))
    return {test for test in TESTS.values() if test.startswith(roots) and not left_out & marks(test)}


def marks(test: str) -> set[str]:
    """What a test is marked with, itself or with its module."""
    path, _, name = test.partition("::")
    module = import_module(path.removesuffix(".py").replace("/", "."))
    of_module = getattr(module, "pytestmark", [])
    of_module = of_module if isinstance(of_module, list) else [of_module]
    return {mark.name for mark in [*of_module, *getattr(getattr(module, name), "pytestmark", [])]}


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
