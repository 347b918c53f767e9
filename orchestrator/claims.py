"""Reading claims: values that somebody else wrote, taken only in the form we expect."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bearer_tokens.subjects import MAX_LENGTH
from orchestrator import names


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
    """Return the clear names of a list at a dotted path, in NFC. All else in it is ignored; a text is a list of one."""
    value = path(claims, dotted)
    listed = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    named = [names.normal(word) for word in listed if isinstance(word, str) and len(word) <= MAX_LENGTH]
    return [name for name in named if len(name) <= MAX_LENGTH and names.is_clear(name)]


def moment(claims: Mapping[str, Any], name: str) -> datetime | None:
    """Return a NumericDate (RFC 7519, section 2), or None where it is missing or unusable."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError, ValueError):
        return None
