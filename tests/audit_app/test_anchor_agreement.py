"""The sealer compares the database with the anchor before it signs, and says where they disagree."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.core.management import CommandError
from psycopg.errors import CheckViolation, InsufficientPrivilege

from audit_app import anchor, sealing
from audit_app.models import AuditSeal
from audit_app.sealer_state import PARTS, SealingStopped
from tests import work
from tests.api import Api
from tests.audit_app.seals import Place, findings, report_of, run, seal, wait_until_sealable
from tests.audit_app.tampering import tell_otherwise, unguarded
from tests.database import as_worker, service_connection, worker_connection

pytestmark = pytest.mark.django_db(transaction=True)


def seals(count: int) -> None:
    for _ in range(count):
        work.open_session()
        assert len(seal()) == 1


def numbers(path: Path) -> list[int]:
    return [one.number for one in anchor.read(path)]


def trouble() -> tuple[str, list[str], dict[str, bool]]:
    """What `/health` says of the seals, and of which part `/metrics` says that it is in trouble."""
    told = Api(None).get("/health").json()
    (measured,) = (one for one in sealing.measured() if one.name == "orchestrator_audit_sealing_trouble_seconds")
    parts = {sample.labels["part"]: sample.value > 0 for sample in measured.samples}
    assert set(parts) == set(PARTS)
    return told["audit"]["status"], told["audit"]["problems"], parts


IN_ORDER: tuple[str, list[str], dict[str, bool]] = ("healthy", [], dict.fromkeys(PARTS, False))


def stopped(problem: str) -> tuple[str, list[str], dict[str, bool]]:
    return "degraded", [problem], {**dict.fromkeys(PARTS, False), "sealer": True}


def refuses(match: str) -> None:
    """Fails unless no seal is made, neither by the command nor by the sweep."""
    known = AuditSeal.objects.count()
    work.open_session()
    wait_until_sealable()
    with pytest.raises(CommandError, match=f"^The trail cannot be sealed: .*{match}"):
        run("audit_seal")
    with as_worker(), pytest.raises(SealingStopped, match=match):
        sealing.seal_due()
    assert AuditSeal.objects.count() == known


def test_seals_that_were_cut_off_with_their_events_stop_sealing(place: Place) -> None:
    seals(3)
    assert trouble() == IN_ORDER
    with unguarded() as beside:
        beside.execute("DELETE FROM audit_events WHERE id = %s", [AuditSeal.objects.get(number=3).last_id])
        beside.execute("DELETE FROM sessions WHERE id NOT IN (SELECT subject_id FROM audit_events)")
        beside.execute("DELETE FROM audit_seals WHERE number = 3")
        refuses("the anchor has seal 3, and the database's last is 2")
        assert trouble() == stopped("database-behind-anchor")
        assert ("anchor", "seal", 3) in findings(place)


def test_a_chain_that_was_written_anew_is_not_sealed_anew_by_the_true_key(place: Place) -> None:
    session = work.move_session(work.open_session(), "active", "completed")
    seal()
    with unguarded() as beside:
        tell_otherwise(beside, session, 2, "another")
        beside.execute("DELETE FROM audit_seals")
        refuses("the anchor has seal 1, and the database's last is 0")
        assert trouble() == stopped("database-behind-anchor")
        # With the anchor away for a moment, the sealer does it. Whoever has the anchor finds it.
        kept = place.anchor.rename(place.folder / "kept")
        run("audit_seal")
        place.anchor.unlink()
        kept.rename(place.anchor)
        refuses("seal 1 of the database is another than the anchor's")
        assert trouble() == stopped("database-differs-from-anchor")
        assert ("anchor", "seal", 1) in findings(place)


def test_an_anchor_that_is_gone_stops_sealing_until_the_operator_accepts_a_new_one(place: Place) -> None:
    seals(2)
    kept = place.anchor.read_bytes()
    for lost in (None, b""):
        place.anchor.unlink(missing_ok=True)
        if lost is not None:
            place.anchor.write_bytes(lost)
        refuses("the database has 2 seals, and the anchor .* is missing or has none")
        assert trouble() == stopped("anchor-missing")
        assert report_of("--keys", str(place.keys))["result"] == "incomplete"
    assert run("audit_seal", "--accept-new-anchor").endswith(" made.")
    assert trouble() == IN_ORDER
    assert numbers(place.anchor) == list(range(1, AuditSeal.objects.count() + 1))
    assert place.anchor.read_bytes().startswith(kept)
    assert findings(place) == []


def test_an_anchor_that_disagrees_is_not_accepted(place: Place) -> None:
    seals(2)
    with unguarded() as beside:
        beside.execute("DELETE FROM audit_seals WHERE number = 2")
        kept = place.anchor.read_bytes()
        with pytest.raises(CommandError, match="the anchor has seal 2"):
            run("audit_seal", "--accept-new-anchor")
        assert place.anchor.read_bytes() == kept


def test_an_anchor_that_cannot_be_read_stops_sealing(place: Place) -> None:
    seals(1)
    kept = place.anchor.rename(place.folder / "kept")
    place.anchor.mkdir()
    refuses("the anchor .*: Is a directory")
    assert trouble() == stopped("anchor-unreadable")
    place.anchor.rmdir()
    kept.rename(place.anchor)
    run("audit_seal")
    assert trouble() == IN_ORDER


@contextmanager
def full(path: Path) -> Iterator[None]:
    """As if the disk had no room for more than a file has."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_anchor_that_cannot_be_written_is_said_and_made_up_for(place: Place) -> None:
    seals(1)
    with full(place.anchor):
        work.open_session()
        wait_until_sealable()
        with pytest.raises(CommandError, match=r"^The trail is sealed, but not anchored: .* cannot be written"):
            run("audit_seal")
        in_trouble = ("degraded", ["anchor-unwritable"], {**dict.fromkeys(PARTS, False), "anchor-file": True})
        assert trouble() == in_trouble
        # It does not keep the next seal from being made.
        work.open_session()
        wait_until_sealable()
        with pytest.raises(CommandError, match="cannot be written"):
            run("audit_seal")
        assert (AuditSeal.objects.count(), numbers(place.anchor)) == (3, [1])
        assert trouble() == in_trouble
    # Nothing is due, and the round makes up for it all the same.
    with as_worker():
        assert sealing.seal_due() == 0
    assert numbers(place.anchor) == [1, 2, 3]
    assert trouble() == IN_ORDER
    assert findings(place) == []


def test_a_seal_without_its_line_is_no_trouble(place: Place) -> None:
    """A crash between the commit of a seal and the writing of its line."""
    seals(2)
    lines = place.anchor.read_bytes().splitlines(keepends=True)
    place.anchor.write_bytes(b"".join(lines[:-1]))
    assert run("audit_seal") == "0 seals made."
    assert numbers(place.anchor) == [1, 2]
    # And that of the very first seal: the anchor was begun before it.
    place.anchor.write_bytes(lines[0])
    assert run("audit_seal") == "0 seals made."
    assert numbers(place.anchor) == [1, 2]


def test_trouble_is_logged_when_it_begins_and_when_it_ends(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    seals(1)
    kept = place.anchor.rename(place.folder / "kept")
    for _ in range(2):
        with pytest.raises(CommandError):
            run("audit_seal")
    kept.rename(place.anchor)
    for _ in range(2):
        run("audit_seal")
    told = [(one.levelname, one.getMessage()) for one in caplog.records if one.name == "audit_app.sealer_state"]
    assert told == [("ERROR", "sealing: anchor-missing"), ("WARNING", "sealing: in order again")]


def test_one_insert_does_not_end_sealing(place: Place) -> None:
    """The database refuses a seal over a place that no event has, which would keep all that follows from a seal."""
    seals(1)
    event = work.chain(work.open_session())[0]
    beyond = "INSERT INTO audit_seals SELECT number + 1, last_era, '99999999', last_id, size, root, hash, body,"
    beyond += " hash, key_id, signature, endorsement, sealed_at FROM audit_seals"
    with worker_connection() as beside, pytest.raises(CheckViolation, match="an event that does not exist"):
        beside.execute(beyond)
    with service_connection() as beside, pytest.raises(InsufficientPrivilege):
        beside.execute(beyond)
    (made,) = seal()
    assert made.last_id == event["id"]


@pytest.mark.parametrize("statement", ["INSERT INTO audit_sealer_state VALUES ('x')", "DELETE FROM audit_sealer_state"])
def test_the_service_only_reads_what_troubles_the_sealer(statement: str) -> None:
    with service_connection() as beside, pytest.raises(InsufficientPrivilege):
        beside.execute(statement)
