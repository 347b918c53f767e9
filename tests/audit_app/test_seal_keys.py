"""The keys of the seals: made once, published, changed with the former key's word."""

import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError

from audit_app import seal_keys
from audit_app.key_validity import Validity, validities
from audit_app.models import AuditEvent, AuditSeal
from orchestrator import local_key
from tests import work
from tests.api import Api
from tests.audit_app.seals import Place, findings, report_of, rotate, run, seal, wait_until_sealable
from tests.audit_app.tampering import forge, seal_hash, unguarded

database = pytest.mark.django_db(transaction=True)


@database
def test_the_first_run_makes_a_key_that_its_owner_alone_may_read(place: Place) -> None:
    work.open_session()
    seal()
    assert stat.S_IMODE(place.key.stat().st_mode) == 0o600
    key = serialization.load_pem_private_key(place.key.read_bytes(), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    assert [path.stem for path in place.keys.glob("*.pem")] == [seal_keys.key_id(key.public_key())]
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
    assert made[0].key_id == made[1].key_id == made[2].key_id != before.key_id
    assert [bool(one.endorsement) for one in (before, *made)] == [False, True, False, False]
    assert len(list(place.keys.glob("*.pem"))) == 2
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
    assert report["missing"] == [
        f"the public key {made.key_id} of seal 1",
        f"the checkpoint {place.checkpoint}: no key of the seals signed it",
    ]
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


# For which seals a key is good.


def rotated(place: Place) -> tuple[str, str, Path]:
    """Two seals by one key and two by the next; their ids, and where the retired private key was kept."""
    for _ in range(2):
        work.open_session()
        (before,) = seal()
    rotate(place)
    work.open_session()
    # The second is over the event of the change.
    _, after = seal()
    return before.key_id, after.key_id, place.former.rename(place.folder / "retired.pem")


@database
def test_a_key_is_good_for_the_seals_of_its_time_and_its_change_is_an_event(place: Place) -> None:
    first, second, _ = rotated(place)
    assert validities(place.keys) == {first: Validity(1, last=2), second: Validity(3)}
    (event,) = AuditEvent.objects.filter(event_type="audit.key_changed")
    assert event.metadata["changes"] == {"former_key": first, "key": second, "seal": 3}
    assert (event.actor_subject, event.via) == ("job:audit_seal", "job")
    assert findings(place) == []


@database
def test_a_retired_key_does_not_seal_again(place: Place) -> None:
    first, _, retired = rotated(place)
    place.key.rename(place.former)
    retired.rename(place.key)
    work.open_session()
    with pytest.raises(CommandError, match=f"the key {first} is not valid for seal 5: it was retired or revoked"):
        run("audit_seal")
    assert AuditSeal.objects.count() == 4
    assert Api(None).get("/health").json()["audit"]["problems"] == ["key-not-valid"]


@database
@pytest.mark.parametrize("anchor", [True, False])
def test_a_seal_that_was_made_again_with_a_retired_key_is_found(place: Place, *, anchor: bool) -> None:
    first, _, retired = rotated(place)
    key = local_key.load_or_make(retired)
    with unguarded() as beside:
        for one in AuditSeal.objects.filter(number__gte=3).order_by("number"):
            before = AuditSeal.objects.get(number=one.number - 1)
            said = {**json.loads(one.body), "key_id": first, "prev_hash": bytes(before.hash).hex()}
            body = json.dumps(said, sort_keys=True, separators=(",", ":"))
            forge(
                beside,
                one,
                body=body,
                hash=seal_hash(body),
                prev_hash=before.hash,
                key_id=first,
                signature=key.sign(b"seal/v1\0" + body.encode()),
                endorsement=None,
            )
        found = findings(place, anchor=anchor)
    for number in (3, 4):
        assert ("seal-key-time", "seal", number) in found
    assert (("anchor", "seal", 3) in found) == anchor


@database
def test_a_key_that_was_revoked_is_good_for_no_seal_from_then_on(place: Place) -> None:
    work.open_session()
    (made,) = seal()
    assert run("audit_revoke_key", made.key_id, "--reason", "A laptop was lost.").endswith("no seal from 2 on.")
    event = AuditEvent.objects.get(event_type="audit.key_revoked")
    assert (event.reason, event.metadata["changes"]) == ("A laptop was lost.", {"key": made.key_id, "from_seal": 2})
    assert findings(place) == []
    with pytest.raises(CommandError, match="is not valid for seal 2"):
        run("audit_seal")
    # Another key takes over.
    rotate(place)
    after, _ = seal()
    assert (after.number, after.key_id == made.key_id) == (2, False)
    assert findings(place) == []
    # It was in the wrong hands before that.
    run("audit_revoke_key", made.key_id, "--from-seal", "1")
    assert findings(place) == [("seal-key-time", "seal", 1)]
    # Nothing makes it good again.
    assert run("audit_revoke_key", made.key_id).endswith("no seal from 1 on.")


@database
def test_a_key_that_nobody_published_cannot_be_revoked(place: Place) -> None:
    with pytest.raises(CommandError, match="has no public key 0000"):
        run("audit_revoke_key", "0000")


@database
@pytest.mark.parametrize("text", ["[]", "{", '{"a": 1}', '{"a": {"number": 1}}'])
def test_a_list_of_validities_that_cannot_be_read_is_no_clean_answer(place: Place, text: str) -> None:
    work.open_session()
    seal()
    (place.keys / "validity.json").write_text(text)
    report = report_of("--keys", str(place.keys))
    assert (report["result"], len(report["missing"])) == ("incomplete", 1)
    work.open_session()
    wait_until_sealable()
    with pytest.raises(CommandError, match="The trail cannot be sealed"):
        run("audit_seal")
