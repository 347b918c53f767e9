"""Whom a token speaks for: its subject and, with `act` (RFC 8693, section 4.1), the agent that acts for the subject."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bearer_tokens import spelling

MAX_LENGTH = 255


class InvalidToken(Exception):  # noqa: N818  the caller's doing, not an error of ours
    """A token that is refused. The reason is for the log, never for the answer."""


@dataclass(frozen=True, slots=True)
class Subject:
    """An identity: the issuer's name and the subject, in NFC."""

    issuer: str
    subject: str


def short_text(claims: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """Return a claim of 1 to 255 characters in NFC. Raise InvalidToken where it is missing or is no clear name."""
    text = text_or_empty(claims, name, default)
    if not text:
        raise InvalidToken(f"{name} is missing or unusable")
    return text


def text_or_empty(claims: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """Return a claim of 1 to 255 characters in NFC, or "" where it is missing or unusable."""
    value = claims.get(name, default)
    text = spelling.normal(value) if isinstance(value, str) and len(value) <= MAX_LENGTH else ""
    return text if len(text) <= MAX_LENGTH and spelling.is_clear(text) else ""


def principal_and_agent(claims: Mapping[str, Any], issuer: str) -> tuple[Subject, Subject | None]:
    """Return the subject of a token, and the agent of its `act` or None. Raise InvalidToken where one is unusable."""
    principal = Subject(issuer, short_text(claims, "sub"))
    act = claims.get("act")
    if act is None:
        return principal, None
    if not isinstance(act, Mapping):
        raise InvalidToken("act is no object")
    return principal, Subject(short_text(act, "iss", issuer), short_text(act, "sub"))
