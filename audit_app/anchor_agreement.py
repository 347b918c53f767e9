"""Comparing the database's seals with the anchor, before another seal is signed.

The database may be ahead: a seal is committed before its line is written, and a line that could not be written comes
later. The anchor is never ahead, and never has another seal of the same number, unless the database was set back, its
seals were deleted or rewritten, or the anchor belongs to another database. No seal is made then: it would vouch for
what was tampered with.
"""

from pathlib import Path

from django.conf import settings

from audit_app import anchor
from audit_app.anchor import Anchored
from audit_app.models import AuditSeal
from audit_app.sealer_state import SealingStopped


class AnchorUnreadable(SealingStopped):
    """The anchor cannot be read, so that nothing can be compared."""

    problem = "anchor-unreadable"


class AnchorMissing(SealingStopped):
    """The database has seals, and the anchor is missing or empty."""

    problem = "anchor-missing"


class DatabaseBehindAnchor(SealingStopped):
    """The anchor has seals that the database does not have."""

    problem = "database-behind-anchor"


class DatabaseDiffersFromAnchor(SealingStopped):
    """The anchor has another seal of the same number than the database."""

    problem = "database-differs-from-anchor"


def last_anchored() -> Anchored | None:
    """Return the anchor's newest seal as `anchor.last()` does. Raises AnchorUnreadable."""
    path: Path = settings.AUDIT_ANCHOR_FILE
    try:
        return anchor.last(path)
    except OSError as error:
        raise AnchorUnreadable(f"the anchor {path}: {error.strerror}") from error


def require_agreement(anchored: Anchored | None, stored: AuditSeal | None) -> None:
    """Raise SealingStopped where the database's seals do not go on from those in the anchor.

    The anchor must have been read before the database's last seal: another sealer may be at work.
    """
    if anchored is None:
        if stored is not None:
            raise AnchorMissing(
                f"the database has {stored.number} seals, and the anchor {settings.AUDIT_ANCHOR_FILE} is missing or has"
                " none. Bring it back; where it was moved or lost for good: manage.py audit_seal --accept-new-anchor."
            )
        return
    number = stored.number if stored else 0
    if anchored.number > number:
        raise DatabaseBehindAnchor(
            f"the anchor has seal {anchored.number}, and the database's last is {number}: seals were deleted, or the"
            " database was set back. Keep both as they are, and run manage.py audit_verify."
        )
    if anchored.number and not AuditSeal.objects.filter(number=anchored.number, hash=anchored.hash).exists():
        raise DatabaseDiffersFromAnchor(
            f"seal {anchored.number} of the database is another than the anchor's: the seals were rewritten, or the"
            " anchor belongs to another database. Keep both as they are, and run manage.py audit_verify."
        )


def begin_anchor() -> None:
    """Begin the anchor before the first seal, so that from then on a missing file is noticed. Raises AnchorUnreadable.

    The first seal is not made without it.
    """
    path: Path = settings.AUDIT_ANCHOR_FILE
    try:
        anchor.begin(path)
    except OSError as error:
        raise AnchorUnreadable(f"the anchor {path} cannot be begun: {error.strerror}") from error
