"""Canonical JSON (RFC 8785): one text for one value, to be hashed."""

from typing import Any

import rfc8785


def dumps(value: Any) -> bytes:
    """A JSON value in RFC 8785 form. Numbers are IEEE doubles there, so a whole number beyond 2^53 is one too."""
    try:
        return rfc8785.dumps(value)
    except rfc8785.IntegerDomainError:
        return rfc8785.dumps(_doubles(value))


def _doubles(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _doubles(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_doubles(child) for child in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
