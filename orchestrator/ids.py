"""Ids: UUIDs in their usual form (RFC 9562, section 4), in any case, and in no other form that Python would take."""

import re
from uuid import UUID

FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


def read(text: object, noun: str = "") -> UUID | None:
    """The id, or None where it is none. With a noun it may stand behind it: `task-<id>`."""
    if not isinstance(text, str):
        return None
    bare = text[len(noun) + 1 :] if noun and text.lower().startswith(f"{noun}-") else text
    return UUID(bare) if FORM.fullmatch(bare) else None
