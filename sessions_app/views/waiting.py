"""GET of one row with `?wait=`: answered when the row moves on."""

import time
from collections.abc import Callable, Mapping
from typing import TypeVar
from uuid import UUID

from orchestrator.actors import Actor
from orchestrator.hang_ups import CallerHungUp
from orchestrator.problems import InvalidRequest
from orchestrator.waiting import TooManyWait
from sessions_app import permissions
from sessions_app.models import Recorded
from sessions_app.serializers.lease import LONGEST_WAIT_SECONDS
from sessions_app.waiting import Moved, waiters

PARAMETERS = frozenset({"wait", "version"})
TRY_AGAIN = {"Retry-After": "1"}
"""Sent where a caller may not wait, since enough others or enough calls of the same subject wait already."""

Row = TypeVar("Row", bound=Recorded)
_MOST_DIGITS = 9


def found_or_moved(
    model: type[Row], pk: UUID, actor: Actor, query: Mapping[str, str], hung_up: Callable[[], bool]
) -> tuple[Row, Mapping[str, str]]:
    """Return the row: at once where it is at another version than the query names, else once it moved or time is up.

    Without a version it waits for the next one. A caller that `hung_up` is waited for no longer. The second part are
    headers of the answer. Raises NotFound, InvalidRequest.
    """
    seconds, version = _number(query, "wait", LONGEST_WAIT_SECONDS), _number(query, "version", 10**_MOST_DIGITS)
    row = permissions.find(model, pk, actor)
    until = time.monotonic() + (seconds or 0)
    known = row.version if version is None else version
    if row.version != known or until <= time.monotonic():
        return row, {}
    try:
        with waiters().place([Moved(model, pk, known)], actor.identity, hung_up) as sleep:
            while row.version == known and (left := until - time.monotonic()) > 0:
                sleep(left)
                row = permissions.find(model, pk, actor)
    except (TooManyWait, CallerHungUp):
        return row, TRY_AGAIN
    return row, {}


def _number(query: Mapping[str, str], name: str, most: int) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and int(text) <= most):
        raise InvalidRequest([(name, f"It must be a whole number from 0 to {most}.")])
    return int(text)
