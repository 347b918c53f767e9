"""Verifying the checkpoint: signed by a key of the seals, and over exactly the first seals of the database."""

from collections.abc import Mapping
from pathlib import Path

from audit_app import checkpoint, merkle, seal_keys
from audit_app.findings import Finding, Report
from audit_app.key_validity import ALWAYS, Validity
from audit_app.signed_note import BadSignature, UnknownSigner
from audit_app.snapshot import Raw

_BODIES = "SELECT body FROM audit_seals WHERE number <= %s ORDER BY number"
_AT_A_TIME = 1_000


def check_checkpoint(
    connection: Raw, path: Path, keys: seal_keys.PublicKeys, validities: Mapping[str, Validity], report: Report
) -> list[Finding]:
    """Compare a checkpoint with the seals. What is no checkpoint, or by an unknown key, is as if it were missing."""
    try:
        kept = checkpoint.read(path, keys)
    except BadSignature:
        return [Finding("checkpoint-signature", seal=_last(connection))]
    except (OSError, ValueError, UnknownSigner) as error:
        why = "no key of the seals signed it" if isinstance(error, UnknownSigner) else error
        report.missing.append(f"the checkpoint {path}: {why}")
        return []
    size = kept.checkpoint.size
    if not validities.get(kept.key_id, ALWAYS).covers(size):
        return [Finding("checkpoint-signature", seal=size)]
    tree = merkle.GrowingTree()
    with connection.cursor("checkpoint") as cursor:
        cursor.itersize = _AT_A_TIME
        for (body,) in cursor.execute(_BODIES, [min(size, 2**31 - 1)]):
            tree.add(body.encode())
    same = (tree.size, tree.root()) == (size, kept.checkpoint.root)
    return [] if same else [Finding("checkpoint", seal=size)]


def _last(connection: Raw) -> int:
    row = connection.execute("SELECT coalesce(max(number), 0) FROM audit_seals").fetchone()
    return int(row[0]) if row else 0
