"""For which seals each key is good: from its first one to its last, and none from a revocation on.

Kept beside the public keys, in `validity.json`, outside the database. A retired key that gets into the wrong hands can
sign nothing that is believed for a seal after its time.
"""

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from django.db.models import Max, Min

from audit_app import seal_keys
from audit_app.models import AuditSeal
from audit_app.sealer_state import SealingStopped

_FILE = "validity.json"


@dataclass(frozen=True, slots=True)
class Validity:
    """Numbers of seals: the first and, once the key is retired, the last; and the first that a revocation is about."""

    first: int
    last: int | None = None
    revoked_from: int | None = None

    def covers(self, number: int) -> bool:
        """Return whether the key is good for a seal."""
        is_retired = self.last is not None and number > self.last
        is_revoked = self.revoked_from is not None and number >= self.revoked_from
        return self.first <= number and not is_retired and not is_revoked


ALWAYS = Validity(1)
"""That of a key of which nothing is recorded: it comes from a copy of the keys alone, or a version before."""


class KeyNotValid(SealingStopped):
    """The signing key was retired or revoked."""

    problem = "key-not-valid"


def validities(folder: Path) -> dict[str, Validity]:
    """Return the validity of each key that a folder says it of, by key id. Raises OSError, ValueError."""
    path = folder / _FILE
    if not path.exists():
        return {}
    try:
        return {key_id: Validity(**kept) for key_id, kept in json.loads(path.read_bytes()).items()}
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} does not say for which seals keys are valid.") from error


def require_valid(folder: Path, key_id: str, number: int) -> None:
    """Raise KeyNotValid where the key is not good for a seal; OSError, ValueError where that cannot be read."""
    known = validities(folder).get(key_id)
    if known is not None and not known.covers(number):
        raise KeyNotValid(
            f"the key {key_id} is not valid for seal {number}: it was retired or revoked. Make another one:"
            " docs/audit.md#keys."
        )


def bring_up_to_date(folder: Path, signing: str) -> None:
    """Record from when on the signing key seals, and until when the keys before it did. Raises OSError, ValueError.

    By the seals in the database, each number once: what is recorded stays. A key that never sealed is left out.
    """
    known = validities(folder)
    told = dict(known)
    for key_id in seal_keys.published(folder):
        if key_id in known and (known[key_id].last is not None or key_id == signing):
            continue
        of_key = AuditSeal.objects.filter(key_id=key_id).aggregate(first=Min("number"), last=Max("number"))
        if of_key["first"] is not None:
            kept = known.get(key_id, Validity(of_key["first"]))
            told[key_id] = kept if key_id == signing else replace(kept, last=of_key["last"])
    if told != known:
        _write(folder, told)


def revoke(folder: Path, key_id: str, number: int) -> Validity:
    """Record that a key is good for no seal from a number on; what is recorded now. Raises OSError, ValueError."""
    known = validities(folder)
    before = known.get(key_id, ALWAYS)
    earliest = number if before.revoked_from is None else min(number, before.revoked_from)
    told = replace(before, revoked_from=earliest)
    _write(folder, {**known, key_id: told})
    return told


def _write(folder: Path, told: Mapping[str, Validity]) -> None:
    """Whole or not at all."""
    path = folder / _FILE
    unfinished = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    unfinished.write_text(json.dumps({key_id: asdict(one) for key_id, one in sorted(told.items())}, indent=2) + "\n")
    unfinished.replace(path)
