"""Authenticate stored answers: HMAC-SHA-256 under a key that is derived from SECRET_KEY and is not in any store.

A row or a Redis entry that was written without the key is never replayed. See docs/idempotency.md.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from django.conf import settings

_LABEL = b"orchestrator/stored-answers/v1"


class Store(StrEnum):
    """Where an answer is stored. A code of one store is not valid in the other."""

    DATABASE = "database"
    REDIS = "redis"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """Everything that is stored of one answer and that its code covers. Times are RFC 3339 texts in UTC."""

    k: bytes
    fp: bytes
    status: int
    headers: Any
    body: bytes
    request_id: str
    created_at: str
    expires_at: str


def written(moment: datetime) -> str:
    """Return a time as it is authenticated: RFC 3339 in UTC with microseconds, as SQL's to_char() writes it."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def loaded(headers: Any) -> Any:
    """Return the headers of a record, which Django's connections leave as text; None where they cannot be read."""
    if not isinstance(headers, str):
        return headers
    try:
        return json.loads(headers)
    except (ValueError, RecursionError):
        # The service writes a few short texts. A number of 5,000 digits is somebody else's.
        return None


def code(stored: StoredAnswer, store: Store) -> bytes:
    """Return the authentication code of a stored answer: 32 bytes, under the present key."""
    return _code(_text(stored, store), settings.SECRET_KEY)


def is_authentic(stored: StoredAnswer, given: bytes | None, store: Store) -> bool:
    """Whether the code is that of this answer, under the present key or one of SECRET_KEY_FALLBACKS."""
    if given is None:
        return _is_from_before_the_codes(store)
    text = _text(stored, store)
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return any(hmac.compare_digest(_code(text, secret), given) for secret in secrets)


def _is_from_before_the_codes(store: Store) -> bool:
    """Whether rows without a code are accepted, since the version before may have written them."""
    until = settings.IDEMPOTENCY_UNSIGNED_UNTIL
    # By this process's clock: the point is not to rely on what the database says.
    return store is Store.DATABASE and until is not None and datetime.now(UTC) < until


def _text(stored: StoredAnswer, store: Store) -> bytes:
    """Return what is authenticated: one text for one value, also for headers that this service never writes."""
    where = [store.value] if store is Store.DATABASE else [store.value, settings.IDEMPOTENCY_EPOCH]
    what = [stored.status, stored.headers, hashlib.sha256(stored.body).hexdigest(), stored.request_id]
    whose = [stored.k.hex(), stored.fp.hex(), stored.created_at, stored.expires_at]
    return json.dumps([where, *whose, *what], sort_keys=True).encode()


def _code(text: bytes, secret: str) -> bytes:
    return hmac.digest(_derived(secret), text, "sha256")


@lru_cache(maxsize=8)
def _derived(secret: str) -> bytes:
    return hmac.digest(secret.encode(), _LABEL, "sha256")
