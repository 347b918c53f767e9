"""manage.py audit_proof, and docs/audit/check_proof.py, which knows nothing of this service."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError

from audit_app import seal_keys
from tests import work
from tests.audit_app.seals import Place, run, seal

pytestmark = pytest.mark.django_db(transaction=True)

CHECK = Path(__file__).parents[2] / "docs" / "audit" / "check_proof.py"
Proof = dict[str, Any]


@pytest.fixture
def events() -> list[work.Event]:
    """The events of a session, sealed along with others."""
    work.open_session()
    session = work.move_session(work.open_session(), "active", "completed", reason='"quoted"\nand broken — für Zürich')
    work.open_session()
    seal()
    return work.chain(session)


def proof_of(event: work.Event) -> Proof:
    proof: Proof = json.loads(run("audit_proof", str(event["id"])))
    return proof


def checked(proof: object, place: Place, key: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """The script on its own: in another folder, without our settings and packages."""
    where = place.folder / "proof.json"
    where.write_text(json.dumps(proof), encoding="utf-8")
    (public,) = place.keys.glob("*.pem")
    command = [sys.executable, "-I", str(CHECK), str(where), str(key or public)]
    return subprocess.run(command, cwd=place.folder, env={}, capture_output=True, text=True, check=False)


def test_proves_each_event_to_whoever_has_the_public_key_alone(events: list[work.Event], place: Place) -> None:
    for event in events:
        done = checked(proof_of(event), place)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"Holds: event {event['id']} ({event['event_type']}, ")


def test_proves_the_only_event_of_a_seal_and_one_of_a_later_seal(place: Place) -> None:
    first = work.chain(work.open_session())[0]
    seal()
    later = [work.chain(work.open_session())[0] for _ in range(3)]
    seal()
    assert proof_of(first)["path"] == {"index": 0, "size": 1, "hashes": []}
    for event in (first, *later):
        assert checked(proof_of(event), place).returncode == 0
    assert [proof_of(event)["seal"]["number"] for event in (first, later[0])] == [1, 2]


def _flipped(text: str) -> str:
    return ("1" if text[0] == "0" else "0") + text[1:]


def _body(proof: Proof) -> None:
    proof["event"]["body"] = proof["event"]["body"].replace("alice", "mallory")


def _other_event(proof: Proof) -> None:
    proof["event"]["id"] = str(uuid4())


def _path(proof: Proof) -> None:
    proof["path"]["hashes"][0] = _flipped(proof["path"]["hashes"][0])


def _index(proof: Proof) -> None:
    proof["path"]["index"] ^= 1


def _longer_path(proof: Proof) -> None:
    proof["path"]["hashes"].append("00" * 32)


def _seal(proof: Proof) -> None:
    said = json.loads(proof["seal"]["body"])
    proof["seal"]["body"] = proof["seal"]["body"].replace(said["root"], _flipped(said["root"]))


def _signature(proof: Proof) -> None:
    proof["seal"]["signature"] = _flipped(proof["seal"]["signature"])


def _size(proof: Proof) -> None:
    proof["path"]["size"] += 1


TAMPERED: dict[str, tuple[Callable[[Proof], None], str]] = {
    "the event's text": (_body, "not what its hash was taken over"),
    "the event's id": (_other_event, "of another event"),
    "a hash of the path": (_path, "does not lead to"),
    "the place": (_index, "does not lead to"),
    "a longer path": (_longer_path, "does not lead to"),
    "the seal's text": (_seal, "not signed by this key"),
    "the signature": (_signature, "not signed by this key"),
    "the size": (_size, "another number of events"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_proof_does_not_hold(events: list[work.Event], place: Place, name: str) -> None:
    tamper, words = TAMPERED[name]
    proof = proof_of(events[1])
    assert checked(proof, place).returncode == 0
    tamper(proof)
    done = checked(proof, place)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("DOES NOT HOLD: ")
    assert words in done.stderr


def test_the_key_that_comes_with_a_proof_is_not_believed(events: list[work.Event], place: Place) -> None:
    proof, (public,) = proof_of(events[0]), place.keys.glob("*.pem")
    kept = place.folder / "ours.pem"
    kept.write_bytes(public.read_bytes())
    public.unlink()
    place.key.unlink()
    # Somebody seals anew, with a key of their own; theirs is in the proof, ours in the hand of whoever checks.
    work.open_session()
    with pytest.raises(CommandError):
        seal()
    # What seals nothing is published by nobody.
    assert not list(place.keys.glob("*.pem"))
    seal_keys.publish(seal_keys.signing_key().public_key())
    (theirs,) = place.keys.glob("*.pem")
    assert checked(proof, place, kept).returncode == 0
    assert checked(proof, place, theirs).returncode == 1


@pytest.mark.parametrize("proof", [[], {}, {"event": 1, "path": 2, "seal": 3}, "proof", None])
def test_what_is_no_proof_is_said_to_be_none(events: list[work.Event], place: Place, proof: object) -> None:
    done = checked(proof, place)
    assert done.returncode == 2
    assert done.stderr.startswith("It cannot be read: ")


def test_what_is_too_deep_to_read_is_said_to_be_no_proof(events: list[work.Event], place: Place) -> None:
    proof = proof_of(events[0])
    proof["event"]["body"] = "[" * 200_000
    done = checked(proof, place)
    assert done.returncode == 2
    assert done.stderr.startswith("It cannot be read: RecursionError")


def test_an_event_that_waits_for_its_seal_has_no_proof_yet() -> None:
    event = work.chain(work.open_session())[0]
    with pytest.raises(CommandError, match="waits for its seal"):
        proof_of(event)
    seal()
    assert proof_of(event)["event"]["id"] == str(event["id"])


def test_there_is_no_proof_of_what_never_was() -> None:
    pk = uuid4()
    with pytest.raises(CommandError, match=f"^There is no event {pk}.$"):
        run("audit_proof", str(pk))
    with pytest.raises(CommandError, match="invalid UUID value: 'first'"):
        run("audit_proof", "first")
