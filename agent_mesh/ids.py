"""Ids as agents write them: bare, or with what they name before them."""

import re

from agent_mesh.answers import Mistake

_ID = re.compile(r"(?:(task|session|approval)-)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.IGNORECASE)


def read(text: str, name: str = "task_id") -> tuple[str, str]:
    """What it names, empty where it does not say, and the bare UUID in lower case. Raises Mistake."""
    given = text.strip()
    if not given:
        raise Mistake(f"{name} is empty: give the id of a task, a session or an approval.")
    found = _ID.fullmatch(given)
    if found is None:
        raise Mistake(f"{name} is no id: {given[:80]!r} is no UUID, with or without task-, session- or approval-.")
    return (found[1] or "").lower(), found[2].lower()


def of(kind: str, text: str, name: str) -> str:
    """The bare UUID of a task, a session or an approval. Raises Mistake for the id of anything else."""
    said, uuid = read(text, name)
    if said not in ("", kind):
        raise Mistake(f"{name} must be the id of a {kind}, not of a {said}.")
    return uuid
