"""The checkpoint: one signed root over all seals, for verifiers of transparency logs."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.core.management import CommandError
from django.test import Client

from audit_app import checkpoint, merkle, seal_keys, sealing, signed_note
from audit_app.models import AuditSeal
from audit_app.signed_note import Checkpoint
from orchestrator import local_key
from tests import work
from tests.audit_app.seals import Place, findings, report_of, rotate, run, seal, wait_until_sealable
from tests.audit_app.tampering import unguarded
from tests.database import as_worker

pytestmark = pytest.mark.django_db(transaction=True)

CHECK = Path(__file__).parents[2] / "docs" / "audit" / "check_checkpoint.py"
ORIGIN = "orchestrator.localhost/audit"


def file() -> Path:
    path: Path = settings.AUDIT_CHECKPOINT_FILE
    return path


def range_file() -> Path:
    return file().with_name(f"{file().name}.range")


def seals(count: int) -> None:
    for _ in range(count):
        work.open_session()
        assert len(seal()) == 1


def whole() -> tuple[int, bytes]:
    """The size and root over all seals there are."""
    bodies = AuditSeal.objects.order_by("number").values_list("body", flat=True)
    return len(bodies), merkle.root(body.encode() for body in bodies)


def stored() -> tuple[int, bytes]:
    found = signed_note.read_checkpoint(signed_note.read(file().read_bytes()).text)
    assert found.origin == ORIGIN
    return found.size, found.root


def seal_key_id() -> str:
    return AuditSeal.objects.latest("number").key_id


def write(size: int, root: bytes, key: Path) -> None:
    """A checkpoint by a true key."""
    file().write_text(signed_note.sign(Checkpoint(ORIGIN, size, root).text(), ORIGIN, local_key.load_or_make(key)))


def test_is_over_all_seals_after_each(place: Place) -> None:
    for size in range(1, 6):
        seals(1)
        assert stored() == whole()
        assert stored()[0] == size
    assert run("audit_checkpoint") == file().read_text().strip()
    assert findings(place) == []
    assert {path.name for path in place.folder.iterdir() if path.name.startswith("anchor")} == {
        *("anchor.ndjson", "anchor.checkpoint", "anchor.checkpoint.range")
    }


def test_goes_on_from_what_is_kept_and_reads_new_seals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seals(3)
    read: list[tuple[int, int]] = []
    bodies = checkpoint._bodies

    def watched(after: int, until: int) -> list[str]:
        read.append((after, until))
        return bodies(after, until)

    monkeypatch.setattr(checkpoint, "_bodies", watched)
    seals(1)
    assert read == [(3, 4)]
    # A round without a seal reads none.
    run("audit_seal")
    assert read == [(3, 4)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda: range_file().unlink(),
        lambda: range_file().write_text("{"),
        lambda: range_file().write_text(json.dumps({"size": 3, "hashes": ["00" * 32, "00" * 32]})),
        lambda: file().unlink(),
    ],
    ids=["no range", "no JSON", "another range", "no checkpoint"],
)
def test_is_computed_from_the_database_where_nothing_fits(
    damage: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_AT_A_TIME", 2)
    seals(3)
    damage()
    seals(1)
    assert stored() == whole()


def test_a_checkpoint_that_contradicts_the_database_is_never_replaced(place: Place) -> None:
    seals(2)
    write(2, bytes(32), place.key)
    kept = file().read_bytes()
    assert findings(place) == [("checkpoint", "seal", 2)]
    work.open_session()
    wait_until_sealable()
    with pytest.raises(CommandError, match=r"its checkpoint is not written: .* is over other seals"):
        run("audit_seal")
    # The seal was made and anchored all the same.
    assert (AuditSeal.objects.count(), len(place.anchor.read_text().splitlines())) == (3, 4)
    assert file().read_bytes() == kept
    assert sealing.health()["problems"] == ["checkpoint-differs"]
    file().unlink()
    run("audit_seal")
    assert (stored(), sealing.health()["problems"]) == (whole(), [])


def test_a_checkpoint_over_more_seals_than_there_are_is_found(place: Place) -> None:
    seals(1)
    write(9, bytes(32), place.key)
    assert findings(place) == [("checkpoint", "seal", 9)]
    with pytest.raises(CommandError, match="is over 9 seals, and the database has 1"):
        run("audit_seal")


def test_seals_that_were_cut_off_are_found_without_the_anchor(place: Place) -> None:
    seals(2)
    with unguarded() as beside:
        beside.execute("DELETE FROM audit_seals WHERE number = 2")
        assert findings(place, anchor=False) == []
        assert findings(place, "--checkpoint", str(file()), anchor=False) == [("checkpoint", "seal", 2)]


def test_one_by_nobody_known_or_for_another_log_is_as_if_it_were_missing(place: Place) -> None:
    seals(1)
    text, other = Checkpoint(ORIGIN, *whole()).text(), Ed25519PrivateKey.generate()
    for note in (
        signed_note.sign(text, ORIGIN, other),
        "nothing",
        file().read_text().replace(ORIGIN, "example.org/log"),
    ):
        file().write_text(note)
        report = report_of("--keys", str(place.keys))
        assert (report["result"], len(report["missing"])) == ("incomplete", 1)
        assert report["missing"][0].startswith(f"the checkpoint {file()}: ")
        with pytest.raises(CommandError, match="is not one that a key of the seals signed"):
            run("audit_seal")


def test_a_changed_text_under_a_true_signature_is_found(place: Place) -> None:
    seals(1)
    file().write_text(file().read_text().replace(f"{ORIGIN}\n1\n", f"{ORIGIN}\n2\n"))
    assert findings(place) == [("checkpoint-signature", "seal", 1)]


def test_a_missing_one_is_no_finding_unless_it_was_named(place: Place) -> None:
    seals(1)
    file().unlink()
    assert findings(place) == []
    report = report_of("--keys", str(place.keys), "--checkpoint", str(file()))
    assert report["missing"] == [f"the checkpoint {file()}: [Errno 2] No such file or directory: '{file()}'"]


def test_the_key_of_the_last_seal_signs_it(place: Place) -> None:
    seals(1)
    before = run("audit_checkpoint", "--key")
    rotate(place)
    work.open_session()
    seal()
    after = run("audit_checkpoint", "--key")
    assert before != after
    assert {key.split("+")[0] for key in (before, after)} == {ORIGIN}
    assert (stored(), checkpoint.read(file(), seal_keys.published(place.keys)).key_id) == (whole(), seal_key_id())
    assert findings(place) == []


def test_one_by_a_key_that_was_retired_before_is_found(place: Place) -> None:
    seals(1)
    rotate(place)
    work.open_session()
    seal()
    write(*whole(), place.former)
    assert findings(place) == [("checkpoint-signature", "seal", whole()[0])]


def test_none_is_signed_by_a_key_that_signed_no_seal_yet(place: Place) -> None:
    seals(1)
    kept = file().read_bytes()
    file().unlink()
    rotate(place)
    with as_worker():
        assert sealing.seal_due() == 0
    assert not file().exists()
    place.key.unlink()
    place.former.rename(place.key)
    run("audit_seal")
    assert file().read_bytes() == kept


def test_one_that_cannot_be_written_is_said_and_made_up_for(place: Place, client: Client) -> None:
    file().mkdir()
    work.open_session()
    wait_until_sealable()
    with pytest.raises(CommandError, match=r"its checkpoint is not written: .* cannot be read: Is a directory"):
        run("audit_seal")
    assert AuditSeal.objects.count() == 1
    assert client.get("/health").json()["audit"]["problems"] == ["checkpoint-unwritable"]
    file().rmdir()
    # The range is where no file can be.
    range_file().mkdir()
    with pytest.raises(CommandError, match="cannot be signed or written"):
        run("audit_seal")
    assert not file().exists()
    range_file().rmdir()
    with as_worker():
        assert sealing.seal_due() == 0
    assert (stored(), sealing.health()["problems"]) == (whole(), [])
    assert findings(place) == []


def checked(proof: object, key: str, place: Place) -> "subprocess.CompletedProcess[str]":
    """The script on its own: in another folder, without our settings and packages."""
    where = place.folder / "proof.json"
    where.write_text(json.dumps(proof), encoding="utf-8")
    command = [sys.executable, "-I", str(CHECK), str(where), key]
    return subprocess.run(command, cwd=place.folder, env={}, capture_output=True, text=True, check=False)


def _other_root(proof: dict[str, Any]) -> None:
    proof["path"]["hashes"][0] = "00" * 32


def _other_seal(proof: dict[str, Any]) -> None:
    proof["seal"]["body"] = proof["seal"]["body"].replace('"size":1', '"size":2')


def _other_number(proof: dict[str, Any]) -> None:
    proof["path"]["index"] = 0


def _other_text(proof: dict[str, Any]) -> None:
    proof["checkpoint"] = proof["checkpoint"].replace("\n3\n", "\n4\n")


def test_proves_each_seal_to_whoever_has_the_verifier_key_alone(place: Place) -> None:
    seals(3)
    key = run("audit_checkpoint", "--key")
    for number in (1, 2, 3):
        done = checked(json.loads(run("audit_checkpoint", "--prove", str(number))), key, place)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"Holds: seal {number}, made at ")
    for other in ("0", "4"):
        with pytest.raises(CommandError, match=f"Seal {other} is not in the checkpoint"):
            run("audit_checkpoint", "--prove", other)
    for tamper in (_other_root, _other_seal, _other_number, _other_text):
        proof = json.loads(run("audit_checkpoint", "--prove", "2"))
        tamper(proof)
        assert checked(proof, key, place).returncode == 1, tamper
    another = signed_note.verifier_key(ORIGIN, Ed25519PrivateKey.generate().public_key())
    assert checked(proof, another, place).returncode == 1
    assert checked(proof, key.replace(ORIGIN, "example.org/log"), place).returncode == 2
    assert checked([], key, place).returncode == 2


def test_says_so_where_there_is_none_yet() -> None:
    with pytest.raises(CommandError, match="There is no checkpoint yet"):
        run("audit_checkpoint")
    with pytest.raises(CommandError, match="or there is no seal"):
        run("audit_checkpoint", "--key")
    run("audit_seal")
    assert not file().exists()
