"""Signed notes and checkpoints, against the examples of the reference implementation and of the specification."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit_app import signed_note
from audit_app.signed_note import BadSignature, Checkpoint, Signature, UnknownSigner

# The key and the note in the documentation of the reference implementation (golang.org/x/mod/sumdb/note).
VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
NOTE = f"{TEXT}\n\u2014 PeterNeumann {SIGNATURE}\n"
KEY = Ed25519PrivateKey.from_private_bytes(SEED)
KEYS = {"peter": KEY.public_key()}
# The examples of the specifications: signed-note, tlog-checkpoint.
POEM = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned \u00e8 subito sera.\n\n"
    "\u2014 quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99"
    "ihAQwaqP3ZekRwNtIc=\n"
)
SOFA = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def test_signs_and_names_its_key_as_the_reference_implementation_does() -> None:
    assert signed_note.sign(TEXT, "PeterNeumann", KEY) == NOTE
    assert signed_note.verifier_key("PeterNeumann", KEY.public_key()) == VERIFIER


def test_knows_the_signer_of_a_note_of_the_reference_implementation() -> None:
    note = signed_note.read(NOTE.encode())
    assert note.text == TEXT
    assert note.require_signer("PeterNeumann", KEYS) == "peter"


def test_the_text_of_a_note_ends_at_its_last_empty_line() -> None:
    note = signed_note.read(POEM.encode())
    assert note.text == POEM.rpartition("\n\u2014")[0]
    (one,) = note.signatures
    assert (one.name, one.key_id.hex(), len(one.signature)) == ("quasimodo.example/salvatore", "367ba04b", 64)


def test_reads_and_writes_the_checkpoint_of_the_specification() -> None:
    checkpoint = signed_note.read_checkpoint(SOFA)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text() == SOFA


def test_signatures_by_others_are_ignored_and_a_wrong_one_by_a_known_key_is_not() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    lines = [signed_note.sign(TEXT, name, other).rpartition("\n\n")[2] for name in ("PeterNeumann", "somebody")]
    assert signed_note.read((NOTE + "".join(lines)).encode()).require_signer("PeterNeumann", KEYS) == "peter"
    with pytest.raises(UnknownSigner):
        signed_note.read(f"{TEXT}\n{''.join(lines)}".encode()).require_signer("PeterNeumann", KEYS)
    with pytest.raises(UnknownSigner):
        signed_note.read(NOTE.encode()).require_signer("somebody", KEYS)
    with pytest.raises(BadSignature):
        signed_note.read(NOTE.replace("think", "thank").encode()).require_signer("PeterNeumann", KEYS)
    good = signed_note.read(NOTE.encode())
    wrong = Signature("PeterNeumann", good.signatures[0].key_id, bytes(64))
    with pytest.raises(BadSignature):
        signed_note.Note(TEXT, (*good.signatures, wrong)).require_signer("PeterNeumann", KEYS)


@pytest.mark.parametrize(
    "note",
    [
        *("", TEXT, NOTE[:-1], NOTE.replace("\u2014", "-"), NOTE.replace("PeterNeumann ", "Peter Neumann ")),
        *(NOTE.replace(SIGNATURE, "x08goA=="[:4]), NOTE.replace("M=\n", "N=\n"), NOTE.replace("\nthen", "\r\nthen")),
        *(NOTE + "\n", NOTE + "more\n", NOTE.replace("PeterNeumann", "Peter+Neumann"), "x" * 64 * 1024 + NOTE),
    ],
)
def test_refuses_what_is_no_note(note: str) -> None:
    with pytest.raises(ValueError, match=r"note|base64"):
        signed_note.read(note.encode())


@pytest.mark.parametrize(
    "text",
    [
        *("", "a\n", "a\n1\n", SOFA.replace("20852163", "020852163"), SOFA.replace("20852163", "-1")),
        *(SOFA.replace("20852163", "9" * 19), SOFA.replace("example.com/behind-the-sofa", "")),
        *(SOFA.replace("2I=", "2J="), SOFA.replace("CsUY", ""), SOFA + "\n", SOFA.replace("2I=", "2I")),
    ],
)
def test_refuses_what_is_no_checkpoint(text: str) -> None:
    with pytest.raises(ValueError, match=r"checkpoint|base64|unpack"):
        signed_note.read_checkpoint(text)


def test_a_checkpoint_is_read_as_it_was_written() -> None:
    for size in (0, 1, 10**17):
        checkpoint = Checkpoint("example.org/log", size, bytes(range(32)))
        assert signed_note.read_checkpoint(checkpoint.text()) == checkpoint
