"""Conditional requests (RFC 9110, section 13): a row's version is its entity tag."""

import re
from collections.abc import Iterator

from django.http import HttpRequest

from orchestrator.problems import InvalidRequest

# Section 5.6.1.2: empty elements of a list are passed over.
_TAG = re.compile(r'[ \t,]*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*(?:,[ \t,]*|$)')
_VERSION = re.compile(r"[1-9][0-9]{0,9}")


def etag(version: int) -> str:
    """A version as a strong entity tag."""
    return f'"{version}"'


def if_match(request: HttpRequest) -> frozenset[int] | None:
    """Return the versions of an existing row that a write accepts; None where it accepts any.

    `If-Match` lists versions, or is `*` for any. `If-None-Match: *` accepts none, since the row exists: the write is a
    412. A weak tag in `If-Match` matches nothing. Raises InvalidRequest where a header is malformed, or where
    `If-None-Match` has another value than `*` (RFC 9110, sections 13.1.1 and 13.1.2).
    """
    unwanted = request.headers.get("If-None-Match")
    if unwanted is not None:
        if unwanted.strip() != "*":
            raise InvalidRequest([("If-None-Match", "On a write it must be *.")])
        return frozenset()
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return None
    return frozenset(int(tag) for weak, tag in _tags("If-Match", header) if not weak and _is_version(tag))


def matches_none(request: HttpRequest, version: int) -> bool:
    """Whether `If-None-Match` names this version, so that a GET may be answered 304. Comparison is weak."""
    header = request.headers.get("If-None-Match")
    if header is None:
        return False
    return header.strip() == "*" or any(tag == str(version) for _, tag in _tags("If-None-Match", header))


def _is_version(tag: str) -> bool:
    return _VERSION.fullmatch(tag) is not None


def _tags(name: str, header: str) -> Iterator[tuple[bool, str]]:
    place = 0
    if not header.strip(" \t,"):
        raise InvalidRequest([(name, 'It must be "<version>", in quotes, or *.')])
    while place < len(header):
        found = _TAG.match(header, place)
        if found is None:
            raise InvalidRequest([(name, 'It must be "<version>", in quotes, or *.')])
        yield bool(found[1]), found[2]
        place = found.end()
