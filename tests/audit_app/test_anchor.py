"""The anchor: a line for each seal, only ever appended to."""

import json
from pathlib import Path

import pytest

from audit_app import anchor
from audit_app.models import AuditSeal
from tests import work
from tests.audit_app.seals import Place, findings, report_of, run, seal

pytestmark = pytest.mark.django_db(transaction=True)


def seals(count: int) -> None:
    for _ in range(count):
        work.open_session()
        assert len(seal()) == 1


def numbers(path: Path) -> list[int]:
    return [one.number for one in anchor.read(path)]


def test_has_a_line_for_each_seal_with_all_that_it_takes_to_check_it(place: Place) -> None:
    seals(2)
    opening, *lines = [json.loads(line) for line in place.anchor.read_text().splitlines()]
    assert opening == {"opened": "anchor/v1"}
    for line, made in zip(lines, AuditSeal.objects.order_by("number"), strict=True):
        assert line["number"] == made.number
        assert (line["hash"], line["body"]) == (bytes(made.hash).hex(), made.body)
        assert (line["signature"], line["endorsement"]) == (bytes(made.signature).hex(), None)


def test_is_only_ever_appended_to(place: Place) -> None:
    seals(1)
    before = place.anchor.read_bytes()
    inode = place.anchor.stat().st_ino
    seals(1)
    assert place.anchor.read_bytes().startswith(before)
    assert place.anchor.stat().st_ino == inode
    after = place.anchor.read_bytes()
    run("audit_seal")
    assert place.anchor.read_bytes() == after


def test_a_line_that_a_crash_cut_short_is_written_again_behind_it(place: Place) -> None:
    seals(2)
    whole = place.anchor.read_bytes()
    place.anchor.write_bytes(whole[:-40])
    assert numbers(place.anchor) == [1]
    run("audit_seal")
    assert numbers(place.anchor) == [1, 2]
    assert place.anchor.read_bytes().startswith(whole[:-40] + b"\n")
    seals(1)
    assert numbers(place.anchor) == [1, 2, 3]
    assert findings(place) == []


@pytest.mark.parametrize(
    "line",
    [
        *("", "{}", "[1]", "17", "null", '"x"', '{"number":1}', '{"number":Infinity,"hash":"00"}'),
        *('{"number":1,"hash":2}', '{"number":1,"hash":"xyz"}', '{"number":[],"hash":"00"}', "[" * 100_000, "\x00\xff"),
    ],
    ids=lambda line: line[:40],
)
def test_what_is_no_line_of_ours_is_passed_over(place: Place, line: str) -> None:
    seals(1)
    with place.anchor.open("a", encoding="latin-1") as file:
        file.write(f"{line}\n")
    seals(1)
    assert numbers(place.anchor) == [1, 2]
    assert findings(place) == []


def test_without_the_anchor_that_is_named_the_answer_is_incomplete(place: Place) -> None:
    seals(1)
    missing = place.folder / "missing.ndjson"
    report = report_of("--keys", str(place.keys), "--anchor", str(missing))
    assert report["result"] == "incomplete"
    assert report["missing"] == [f"the anchor {missing}: No such file or directory"]


def test_an_anchor_that_ends_earlier_says_no_less_of_what_it_has(place: Place) -> None:
    seals(3)
    lines = place.anchor.read_bytes().splitlines(keepends=True)
    place.anchor.write_bytes(lines[0] + lines[1] + lines[2][:50])
    assert findings(place) == []
