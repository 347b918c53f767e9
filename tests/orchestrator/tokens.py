"""Making tokens part by part: what no honest issuer would sign can be made here too."""

import base64
import json
import time
from collections.abc import Callable
from itertools import product
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from orchestrator import local_key


class Gone:
    """What stands for a claim or a header that is left out."""

    def __repr__(self) -> str:
        return "GONE"


GONE: Any = Gone()


def own_key() -> Ed25519PrivateKey:
    """The service's own."""
    return local_key.load_or_make(settings.LOCAL_KEY_FILE)


def b64(raw: bytes) -> str:
    """As RFC 7515 has it: URL-safe, without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def header(**changes: Any) -> dict[str, Any]:
    """The header of a good token, with changes."""
    good = {"alg": "EdDSA", "typ": "at+jwt", "kid": local_key.key_id(own_key().public_key())}
    return {name: value for name, value in {**good, **changes}.items() if value is not GONE}


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good token, with changes."""
    good = {
        "iss": settings.LOCAL_ISSUER,
        "aud": settings.LOCAL_AUDIENCE,
        "sub": "alice",
        "kind": "person",
        "azp": settings.LOCAL_CLIENT,
        "iat": after(0),
        "exp": after(600),
        "realm_access": {"roles": ["agent"]},
        "agent_roles": ["finance"],
        "tenant": "acme",
    }
    chosen = {name: value for name, value in {**good, **changes}.items() if value is not GONE}
    return {name: value() if callable(value) else value for name, value in chosen.items()}


def after(seconds: int) -> Callable[[], int]:
    """A claim that names a moment so many seconds from when the token is made."""
    return lambda: int(time.time()) + seconds


def made(head: Any, payload: Any, sign: Callable[[bytes], bytes] | None = None) -> str:
    """A token of these parts, signed with the service's own key unless told otherwise."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (head, payload)]
    text = ".".join(map(b64, parts))
    return f"{text}.{b64((sign or own_key().sign)(text.encode()))}"


def saying(**changes: Any) -> Callable[[], str]:
    """A token whose claims differ from a good one's."""
    return lambda: made(header(), claims(**changes))


def headed(**changes: Any) -> Callable[[], str]:
    """A token whose header differs from a good one's."""
    return lambda: made(header(**changes), claims())


def of(token: str, part: int, text: str) -> str:
    """The token with one of its parts replaced."""
    parts = token.split(".")
    return ".".join([*parts[:part], text, *parts[part + 1 :]])


def good() -> str:
    return made(header(), claims())


def sized(size: int) -> str:
    """A good token of exactly that many bytes. Two fillers, because base64 leaves out every fourth length."""
    roughly = (size - len(good())) * 3 // 4 - 50
    for inside, outside in product(range(roughly, roughly + 60), range(4)):
        token = made(header(filler="x" * outside), claims(filler="x" * inside))
        if len(token) == size:
            return token
    raise AssertionError("There is no such size.")
