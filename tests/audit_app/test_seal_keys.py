"""The keys of the seals: made once, published, changed with the former key's word."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError

from audit_app import seal_keys
from audit_app.models import AuditSeal
from orchestrator import local_key
from tests import work
from tests.audit_app.seals import Place, findings, report_of, run, seal

database = pytest.mark.django_db(transaction=True)


def rotate(place: Place, *, keep: bool = True) -> None:
    """The runbook: the key becomes the former one, and the next run makes another."""
    (place.key.rename if keep else lambda _: place.key.unlink())(place.former)


@database
def test_the_first_run_makes_a_key_that_its_owner_alone_may_read(place: Place) -> None:
    work.open_session()
    seal()
    assert stat.S_IMODE(place.key.stat().st_mode) == 0o600
    key = serialization.load_pem_private_key(place.key.read_bytes(), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    assert [path.stem for path in place.keys.iterdir()] == [seal_keys.key_id(key.public_key())]
    kept = place.key.read_bytes()
    work.open_session()
    seal()
    assert place.key.read_bytes() == kept


@database
def test_a_new_key_takes_over_with_the_former_ones_word(place: Place) -> None:
    for _ in range(2):
        work.open_session()
        (before,) = seal()
    rotate(place)
    made = []
    for _ in range(2):
        work.open_session()
        made += seal()
    assert made[0].key_id == made[1].key_id != before.key_id
    assert [bool(one.endorsement) for one in (before, *made)] == [False, True, False]
    assert len(list(place.keys.iterdir())) == 2
    assert findings(place) == []
    # Once it has changed, the former key is needed no more.
    place.former.unlink()
    work.open_session()
    assert len(seal()) == 1
    assert findings(place) == []


@database
def test_refuses_another_key_without_the_former_ones_word(place: Place) -> None:
    work.open_session()
    (before,) = seal()
    rotate(place, keep=False)
    work.open_session()
    with pytest.raises(CommandError, match="AUDIT_SEAL_FORMER_KEY_FILE must hold it") as refusal:
        seal()
    assert before.key_id in str(refusal.value)
    assert AuditSeal.objects.count() == 1
    # Nor with the word of a key that was never the one before.
    local_key.load_or_make(place.former)
    with pytest.raises(CommandError, match="AUDIT_SEAL_FORMER_KEY_FILE must hold it"):
        seal()
    assert AuditSeal.objects.count() == 1


@database
def test_a_key_file_that_holds_no_such_key_is_said_to(place: Place) -> None:
    place.key.write_bytes(
        generate_private_key(SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(CommandError, match="does not hold an Ed25519 key"):
        run("audit_seal")
    place.key.write_text("no key")
    with pytest.raises(CommandError, match="The trail cannot be sealed"):
        run("audit_seal")


@database
def test_without_the_public_key_of_a_seal_the_answer_is_incomplete(place: Place) -> None:
    work.open_session()
    (made,) = seal()
    (place.keys / f"{made.key_id}.pem").unlink()
    report = report_of("--keys", str(place.keys))
    assert (report["result"], report["findings"]) == ("incomplete", [])
    assert report["missing"] == [f"the public key {made.key_id} of seal 1"]
    with pytest.raises(CommandError, match="this was not to be had: the public key") as refusal:
        run("audit_verify", "--keys", str(place.keys))
    assert refusal.value.returncode == 2


def _key_file(folder: Path, name: str | None = None) -> str:
    key = Ed25519PrivateKey.generate().public_key()
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name or seal_keys.key_id(key)}.pem").write_bytes(pem)
    return seal_keys.key_id(key)


def test_published_keys_are_those_under_their_own_ids(tmp_path: Path) -> None:
    good = _key_file(tmp_path)
    _key_file(tmp_path, "0" * 32)
    (tmp_path / "notes.txt").write_text("not a key")
    (tmp_path / "empty.pem").write_bytes(b"")
    (tmp_path / "folder.pem").mkdir()
    elliptic = generate_private_key(SECP256R1()).public_key()
    (tmp_path / "elliptic.pem").write_bytes(
        elliptic.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    assert list(seal_keys.published(tmp_path)) == [good]
    assert seal_keys.published(tmp_path / "missing") == {}


def test_a_public_key_that_was_cut_short_is_written_anew(place: Place) -> None:
    key = Ed25519PrivateKey.generate().public_key()
    seal_keys.publish(key)
    path = place.keys / f"{seal_keys.key_id(key)}.pem"
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    seal_keys.publish(key)
    assert path.read_bytes() == whole
    assert list(place.keys.iterdir()) == [path]
