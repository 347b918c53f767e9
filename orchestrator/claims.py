"""Reading claims: values that somebody else wrote, taken only in the form we expect."""

from collections.abc import Mapping
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
