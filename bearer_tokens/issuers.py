"""The issuers whose tokens are accepted."""

from collections.abc import Callable
from dataclasses import dataclass

from jwt import PyJWK


@dataclass(frozen=True)
class TrustedIssuer:
    """An issuer whose tokens are accepted: name and audience are matched exactly, signing keys are found by id.

    `key` returns the key of an id, or None where the issuer has no such key.
    """

    name: str
    audience: str
    key: Callable[[str], PyJWK | None]
