"""docs/threat-model.md, docs/asvs.md, docs/approvals.md: each test that they name exists, and nothing is left out."""

import re
from collections import Counter
from functools import cache

import pytest

from tests.contract.pages import page, section, table
from tests.gunicorn_server import HERE

THREATS, ASVS, APPROVALS = (page(f"docs/{name}.md") for name in ("threat-model", "asvs", "approvals"))
NAMED = re.compile(r"`(test_\w+\.py)(?:::(test_\w+))?`")


@cache
def known() -> dict[str, set[str]]:
    """The tests of each file, by its name. Files of one name count together."""
    found: dict[str, set[str]] = {}
    for path in (HERE / "tests").rglob("test_*.py"):
        names = re.findall(r"^(?: {4})?def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
        found.setdefault(path.name, set()).update(names)
    return found


def not_there(text: str) -> list[str]:
    """The tests that a text names and that do not exist."""
    there = known()
    return [
        f"{file}::{name}"
        for file, name in NAMED.findall(text)
        if file not in there or (name and name not in there[file])
    ]


def threats() -> list[list[str]]:
    return [row for title in STRIDE for row in table(section(THREATS, title))]


STRIDE = (
    "Spoofing",
    "Tampering",
    "Repudiation",
    "Information disclosure",
    "Denial of service",
    "Elevation of privilege",
)


def test_a_test_that_is_not_there_is_noticed() -> None:
    assert not_there("`test_pages.py::test_that_nobody_wrote`, `test_nothing.py`, `test_pages.py`") == [
        "test_pages.py::test_that_nobody_wrote",
        "test_nothing.py::",
    ]


def test_each_threat_has_a_control_and_a_test_that_there_is() -> None:
    rows = threats()
    assert len(rows) > 50
    for number, threat, control, tests in rows:
        assert threat, number
        assert control, number
        assert NAMED.search(tests), number
    assert not_there(THREATS) == []


@pytest.mark.parametrize("title", STRIDE)
def test_threats_are_numbered_in_order(title: str) -> None:
    rows = table(section(THREATS, title))
    assert [row[0] for row in rows] == [f"{title[0]}{n}" for n in range(1, len(rows) + 1)]


RULES = ("Who decides", "What stands, and what can be undone")


def test_each_rule_about_approvals_has_a_guard_and_a_test() -> None:
    rows = [row for title in RULES for row in table(section(APPROVALS, title))]
    assert [row[0] for row in rows] == [str(number) for number in range(1, 11)]
    for number, _, service, database, tests in rows:
        assert service, number
        # The database sees neither the client nor the login of a decision.
        assert database != "–" or number in ("2", "3"), number
        assert NAMED.search(tests), number
    for row in table(section(APPROVALS, "To what")):
        assert NAMED.search(row[-1]), row[0]
    assert not_there(APPROVALS) == []


# The levels of the requirements of each section of OWASP ASVS 5.0.0, in their order: 1.5.1 is of level 1, 1.5.2 of 2.
LEVELS = {
    "1.1": "22",
    "1.2": "1111122223",
    "1.3": "112222222223",
    "1.4": "222",
    "1.5": "123",
    "2.1": "122",
    "2.2": "112",
    "2.3": "12223",
    "2.4": "23",
    "3.1": "3",
    "3.2": "113",
    "3.3": "12223",
    "3.4": "11222233",
    "3.5": "11122333",
    "3.6": "3",
    "3.7": "22333",
    "4.1": "12233",
    "4.2": "23333",
    "4.3": "22",
    "4.4": "1222",
    "5.1": "2",
    "5.2": "112333",
    "5.3": "113",
    "5.4": "222",
    "6.1": "122",
    "6.2": "111111112222",
    "6.3": "11223333",
    "6.4": "112233",
    "6.5": "22222333",
    "6.6": "2223",
    "6.7": "33",
    "6.8": "2222",
    "7.1": "222",
    "7.2": "1111",
    "7.3": "22",
    "7.4": "11222",
    "7.5": "223",
    "7.6": "22",
    "8.1": "1233",
    "8.2": "1123",
    "8.3": "133",
    "8.4": "23",
    "9.1": "111",
    "9.2": "1222",
    "10.1": "22",
    "10.2": "223",
    "10.3": "22223",
    "10.4": "1111122222233333",
    "10.5": "22222",
    "10.6": "22",
    "10.7": "222",
    "11.1": "2233",
    "11.2": "22233",
    "11.3": "11233",
    "11.4": "1222",
    "11.5": "23",
    "11.6": "23",
    "11.7": "33",
    "12.1": "12233",
    "12.2": "11",
    "12.3": "22223",
    "13.1": "2333",
    "13.2": "222223",
    "13.3": "2233",
    "13.4": "1222233",
    "14.1": "22",
    "14.2": "12223333",
    "14.3": "122",
    "15.1": "12233",
    "15.2": "12233",
    "15.3": "1222222",
    "15.4": "3333",
    "16.1": "2",
    "16.2": "22222",
    "16.3": "2222",
    "16.4": "222",
    "16.5": "2223",
    "17.1": "23",
    "17.2": "22223333",
    "17.3": "22",
}
VERDICTS = ("met", "deployment", "partly", "not met", "not here")


def asvs_rows() -> list[list[str]]:
    chapters = ASVS.split("\n## ")[1:]
    return [row for chapter in chapters for row in table(chapter)]


def requirements() -> list[tuple[str, str, str, str]]:
    """The id, level, verdict and evidence of each requirement that docs/asvs.md has. Several may share a row."""
    rows = asvs_rows()
    return [(one, level, how.partition(":")[0], by) for ids, level, _, how, by in rows for one in ids.split()]


def test_every_requirement_of_levels_1_and_2_is_there_once_in_its_order() -> None:
    there = [
        (f"{name}.{n}", level)
        for name, levels in LEVELS.items()
        for n, level in enumerate(levels, start=1)
        if level in "12"
    ]
    assert [(one, level) for one, level, _, _ in requirements()] == there
    assert [sum(level == wanted for _, level in there) for wanted in "12"] == [70, 183]


def test_each_requirement_has_a_verdict_and_what_is_met_is_shown() -> None:
    for one, _, verdict, by in requirements():
        assert verdict in VERDICTS, one
        # By a test, or, where a document is what is asked for, by its place.
        assert verdict not in ("met", "partly") or NAMED.search(by) or by.startswith("["), one
        assert verdict != "not here" or by == "–", one
    assert not_there(ASVS) == []


def test_what_is_not_met_says_why() -> None:
    told = {one: how for ids, _, _, how, _ in asvs_rows() for one in ids.split()}
    for one, _, verdict, _ in requirements():
        if verdict in ("partly", "not met", "deployment"):
            assert len(told[one]) > len(verdict) + 5, one


def test_the_verdicts_are_counted() -> None:
    told = [(row[0], int(row[2]), int(row[3])) for row in table(ASVS.partition("\n## ")[0])]
    counted = Counter((verdict, level) for _, level, verdict, _ in requirements())
    assert told == [(word, counted[word, "1"], counted[word, "2"]) for word in VERDICTS]
