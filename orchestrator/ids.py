"""Ids: UUIDs in their usual form (RFC 9562, section 4), in any case, and in no other form that Python would take."""

import re
from uuid import UUID

FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


def read(text: object) -> UUID | None:
    """The id, or None where it is none."""
    return UUID(text) if isinstance(text, str) and FORM.fullmatch(text) else None
