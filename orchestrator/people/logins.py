"""The admin's logins, as Django keeps them: rows that nobody needs once their time has passed."""

import time
from datetime import timedelta

from django.conf import settings
from django.contrib import auth
from django.db import connection
from django.http import HttpRequest
from django.utils import timezone

from orchestrator import boundary

BATCH = 1000

_SEEN = "seen_at"
_GRAIN_SECONDS = 30
"""How exactly it is known when a login was used last: to note it costs a write."""

# An ARRAY is made once. An IN may be run again for each row beside it, and then takes more than a batch.
_END = """
DELETE FROM django_session WHERE session_key = ANY (ARRAY(
  SELECT session_key FROM django_session WHERE expire_date < statement_timestamp() LIMIT %s FOR UPDATE SKIP LOCKED))
"""


def begin(request: HttpRequest) -> None:
    """Have the login that was just made end at its time: Django would put that off with whatever a page keeps in it."""
    request.session.set_expiry(timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE))
    request.session[_SEEN] = int(time.time())


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
