"""Reading claims: values that somebody else wrote, taken only in the form we expect."""

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_LONGEST = 255


class InvalidToken(Exception):  # noqa: N818  the caller's doing, not an error of ours
    """A token that is refused. The reason is for the log, never for the answer."""


def path(claims: Mapping[str, Any], dotted: str) -> Any:
    """The value at a dotted path such as `realm_access.roles`, or None.

    A claim whose own name has dots in it (a URL, say) is found under its whole name.
    """
    if dotted in claims:
        return claims[dotted]
    value: Any = claims
    for name in dotted.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def words(claims: Mapping[str, Any], dotted: str) -> list[str]:
    """A list of printable words at a dotted path; all else in it is passed over. A lone word is a list of one."""
    value = path(claims, dotted)
    found = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [word for word in found if isinstance(word, str) and 0 < len(word) <= _LONGEST and word.isprintable()]


def short_text(claims: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A printable claim of 1 to 255 characters. Raises InvalidToken."""
    value = claims.get(name, default)
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST or not value.isprintable():
        raise InvalidToken(f"{name} is missing or unusable")
    return value


def text_or_empty(claims: Mapping[str, Any], name: str) -> str:
    """Return a printable claim of 1 to 255 characters, in NFC, or "" where it is missing or unusable."""
    value = claims.get(name)
    if not isinstance(value, str) or len(value) > _LONGEST or not value.isprintable() or not value.strip():
        return ""
    return unicodedata.normalize("NFC", value)


def moment(claims: Mapping[str, Any], name: str) -> datetime | None:
    """Return a NumericDate (RFC 7519, section 2), or None where it is missing or unusable."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError, ValueError):
        return None
