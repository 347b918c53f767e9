"""Long values as digests, so that what must be erased can be and the trail stays whole."""

import hashlib
from collections.abc import Mapping
from typing import Any

from orchestrator.canonical import dumps

DIGEST_ABOVE = 1024
"""Changed values whose canonical text is longer, in bytes, are told as digests."""


def digested(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes with every long value replaced by its SHA-256 and its length in bytes."""
    return {name: _short(value) for name, value in changes.items()}


def _short(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    text = dumps(value)
    if len(text) <= DIGEST_ABOVE:
        return value
    return {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
