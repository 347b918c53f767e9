"""JSON documents that rows carry: how large they may be, and how they are patched."""

import json
from collections.abc import Mapping
from typing import Any

from orchestrator import parsing
from orchestrator.problems import InvalidJson, InvalidRequest

MAX_BYTES = 64 * 1024


def size(document: Any) -> int:
    """The document's length in bytes, as compact UTF-8."""
    return len(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode())


def merge_patch(target: Any, patch: Any) -> Any:
    """The target as a merge patch would have it (RFC 7396, section 2): null removes, objects merge."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def merged(name: str, target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A patched document that is still one we keep. Two that are small enough may not be together.

    Raises InvalidRequest about the field `name`.
    """
    document: dict[str, Any] = merge_patch(target, patch)
    if (length := size(document)) > MAX_BYTES:
        raise InvalidRequest([(name, f"It may have {MAX_BYTES} bytes, and would have {length}.")])
    try:
        parsing.measure(document)
    except InvalidJson as problem:
        raise InvalidRequest([(name, problem.detail)]) from problem
    return document
