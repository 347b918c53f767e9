"""The admin's logins, as Django keeps them: rows that nobody needs once their time has passed."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.db import connection
from django.http import HttpRequest
from django.utils import timezone

from orchestrator import boundary

BATCH = 1000

_HOW = "authentication"
_SEEN = "seen_at"
_GRAIN_SECONDS = 30
"""How exactly it is known when a login was used last: to note it costs a write."""

# An ARRAY is made once. An IN may be run again for each row beside it, and then takes more than a batch.
_END = """
DELETE FROM django_session WHERE session_key = ANY (ARRAY(
  SELECT session_key FROM django_session WHERE expire_date < statement_timestamp() LIMIT %s FOR UPDATE SKIP LOCKED))
"""


@dataclass(frozen=True, slots=True)
class Authentication:
    """How strongly and when the person logged in: `acr` and `auth_time` of OpenID Connect Core, section 2."""

    acr: str = ""
    at: datetime | None = None


def begin(request: HttpRequest, how: Authentication) -> None:
    """Keep how the person logged in, and let the new login end at its time, however much is done with it."""
    request.session.set_expiry(timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE))
    request.session[_SEEN] = int(time.time())
    request.session[_HOW] = stored(how)


def stored(how: Authentication) -> dict[str, str | float | None]:
    """Return the form in which a session keeps it."""
    return {"acr": how.acr, "at": how.at.timestamp() if how.at else None}


def authentication(request: HttpRequest) -> Authentication:
    """Return how the person who sends this request logged in; nothing is known of a login of an older version."""
    return restored(request.session.get(_HOW, {}))


def restored(kept: Mapping[str, Any]) -> Authentication:
    """Return what `stored` made a session's value of."""
    at = kept.get("at")
    return Authentication(kept.get("acr", ""), None if at is None else datetime.fromtimestamp(at, UTC))


def look_after(request: HttpRequest) -> None:
    """End the login that comes with a request if nobody used it for ADMIN_IDLE_SECONDS; else note that it is used."""
    seen, now = request.session.get(_SEEN), int(time.time())
    if seen is None:
        return
    if now - seen > settings.ADMIN_IDLE_SECONDS:
        auth.logout(request)
    elif now - seen >= _GRAIN_SECONDS:
        request.session[_SEEN] = now


def end_expired() -> int:
    """Delete them in batches; how many went. Raises ServiceUnavailable where the database is away."""

    def batch() -> int:
        with connection.cursor() as cursor:
            cursor.execute(_END, [BATCH])
            return int(cursor.rowcount)

    total = 0
    while count := boundary.write(batch):
        total += count
    return total
