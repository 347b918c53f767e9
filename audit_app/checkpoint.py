"""The checkpoint: one signed root over all seals, in a file beside the anchor, for verifiers of transparency logs.

The leaves of the log are the texts of the seals, in order, so its size is the number of the last seal. Beside the file
lies the compact range of its tree (`….range`), from which the next root is computed without reading all seals again.
Where the range is missing or does not fit, it is computed from the database and must lead to the signed root.
"""

import json
import os
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings

from audit_app import merkle, seal_keys, signed_note
from audit_app.models import AuditSeal
from audit_app.sealer_state import SealingTrouble
from audit_app.signed_note import BadSignature, Checkpoint, UnknownSigner
from orchestrator import boundary

_AT_A_TIME = 10_000


class CheckpointTrouble(SealingTrouble):
    """Seals were made and anchored, and the checkpoint does not have them. The next round tries again."""


class CheckpointUnwritable(CheckpointTrouble):
    """The checkpoint cannot be read, signed or written."""

    problem = "checkpoint-unwritable"


class CheckpointDiffers(CheckpointTrouble):
    """The checkpoint is not one of the seals in the database. A second one that contradicts it is never signed."""

    problem = "checkpoint-differs"


class NotInCheckpoint(Exception):  # noqa: N818  it has only to be waited for
    """The checkpoint is over fewer seals."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A checkpoint as it is in its file, and by which key of the seals it is."""

    checkpoint: Checkpoint
    note: str
    key_id: str


def read(path: Path, keys: seal_keys.PublicKeys) -> Stored:
    """Read a file and check its signature. Raises OSError, ValueError, UnknownSigner, BadSignature."""
    with path.open("rb") as file:
        found = file.read(signed_note.MAX_NOTE_BYTES + 1)
    note = signed_note.read(found)
    checkpoint = signed_note.read_checkpoint(note.text)
    if checkpoint.origin != settings.AUDIT_CHECKPOINT_ORIGIN:
        raise ValueError(f"It is of the log {checkpoint.origin}, not of {settings.AUDIT_CHECKPOINT_ORIGIN}.")
    return Stored(checkpoint, found.decode(), note.require_signer(checkpoint.origin, keys))


def newest() -> Stored | None:
    """Return the checkpoint in its file, None where there is no file. Raises CheckpointTrouble."""
    path: Path = settings.AUDIT_CHECKPOINT_FILE
    try:
        return read(path, seal_keys.published(settings.AUDIT_SEAL_PUBLIC_KEYS))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointUnwritable(f"the checkpoint {path} cannot be read: {error.strerror}") from error
    except (ValueError, UnknownSigner, BadSignature) as error:
        raise CheckpointDiffers(
            f"the checkpoint {path} is not one that a key of the seals signed for {settings.AUDIT_CHECKPOINT_ORIGIN}."
            " Keep it, and find out who wrote it: docs/operations.md#when-sealing-stops."
        ) from error


def bring_up_to_date() -> None:
    """Write a checkpoint over all seals, where the one in the file is over fewer. Raises CheckpointTrouble."""
    # The file first: another sealer may be at work.
    kept = newest()
    last = boundary.read(AuditSeal.objects.order_by("-number").first)
    size, number = kept.checkpoint.size if kept else 0, last.number if last else 0
    if size > number:
        raise CheckpointDiffers(
            f"the checkpoint {settings.AUDIT_CHECKPOINT_FILE} is over {size} seals, and the database has {number}:"
            " seals were deleted, or the database was set back. Keep both as they are, and run manage.py audit_verify."
        )
    if last is None or size == number:
        return
    tree = _tree_of(kept)
    _add_seals(tree, size, number)
    try:
        key = seal_keys.signing_key()
        if seal_keys.key_id(key.public_key()) != last.key_id:
            # The key is being changed: whether the former one vouches for it, the next seal shows.
            return
        origin: str = settings.AUDIT_CHECKPOINT_ORIGIN
        note = signed_note.sign(Checkpoint(origin, number, tree.root()).text(), origin, key)
        kept_range = {"size": tree.size, "hashes": [one.hex() for one in tree.hashes]}
        _replace(_range_file(), json.dumps(kept_range, separators=(",", ":")) + "\n")
        _replace(settings.AUDIT_CHECKPOINT_FILE, note)
    except (OSError, ValueError) as error:
        raise CheckpointUnwritable(f"the checkpoint cannot be signed or written: {error}") from error


def proof_of(number: int) -> dict[str, Any]:
    """Return the newest checkpoint, a seal, and the way from that to the root, to be checked without the database.

    Raises NotInCheckpoint, CheckpointTrouble.
    """
    kept = newest()
    if kept is None or not 0 < number <= kept.checkpoint.size:
        raise NotInCheckpoint
    path = []
    for leaves in merkle.beside(number - 1, kept.checkpoint.size):
        tree = merkle.GrowingTree()
        _add_seals(tree, leaves.start, leaves.stop)
        path.append(tree.root().hex())
    seal = boundary.read(lambda: AuditSeal.objects.get(pk=number))
    return {
        "checkpoint": kept.note,
        "path": {"index": number - 1, "size": kept.checkpoint.size, "hashes": path},
        "seal": {"number": number, "body": seal.body, "signature": bytes(seal.signature).hex()},
    }


def verifier_key() -> str | None:
    """Return the public key of the last seal as verifiers of checkpoints take it, None where it is not published."""
    last = boundary.read(AuditSeal.objects.order_by("-number").first)
    keys = seal_keys.published(settings.AUDIT_SEAL_PUBLIC_KEYS)
    key: Ed25519PublicKey | None = keys.get(last.key_id) if last else None
    return signed_note.verifier_key(settings.AUDIT_CHECKPOINT_ORIGIN, key) if key else None


def _tree_of(kept: Stored | None) -> merkle.GrowingTree:
    """Return the tree below a checkpoint. Raises CheckpointDiffers."""
    if kept is None:
        return merkle.GrowingTree()
    tree = _kept_range()
    if tree is not None and (tree.size, tree.root()) == (kept.checkpoint.size, kept.checkpoint.root):
        return tree
    tree = merkle.GrowingTree()
    _add_seals(tree, 0, kept.checkpoint.size)
    if tree.root() != kept.checkpoint.root:
        raise CheckpointDiffers(
            f"the checkpoint {settings.AUDIT_CHECKPOINT_FILE} is over other seals than those in the database: they were"
            " rewritten, or it belongs to another database. Keep both as they are, and run manage.py audit_verify."
        )
    return tree


def _kept_range() -> merkle.GrowingTree | None:
    """Return the tree that the compact range says, None where it is missing or is none."""
    try:
        kept = json.loads(_range_file().read_bytes())
        return merkle.GrowingTree(int(kept["size"]), [bytes.fromhex(one) for one in kept["hashes"]])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        # It only saves work: without it the tree is computed from the database.
        return None


def _range_file() -> Path:
    path: Path = settings.AUDIT_CHECKPOINT_FILE
    return path.with_name(f"{path.name}.range")


def _add_seals(tree: merkle.GrowingTree, after: int, until: int) -> None:
    """Add the seals with the numbers above one, up to another, in batches. Raises CheckpointDiffers for a gap."""
    for at in range(after, until, _AT_A_TIME):
        end = min(at + _AT_A_TIME, until)
        bodies = boundary.read(partial(_bodies, at, end))
        if len(bodies) != end - at:
            raise CheckpointDiffers(
                f"seals between {at + 1} and {end} were deleted. Keep the database as it is, and run manage.py"
                " audit_verify."
            )
        for body in bodies:
            tree.add(body.encode())


def _bodies(after: int, until: int) -> list[str]:
    seals = AuditSeal.objects.filter(number__gt=after, number__lte=until).order_by("number")
    return list(seals.values_list("body", flat=True))


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all, and see it on the disk. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
