"""Who is cut off in which tenant: an operator of a tenant shuts a subject out there before its tokens expire."""

import threading
import time
from collections.abc import Callable

from django.db import DatabaseError, InterfaceError

from orchestrator import boundary
from orchestrator.actors import Identity
from orchestrator.people.models import Person

SECONDS = 30
"""How long a worker may go on with what it read: a subject is shut out at the latest after this."""


class CutOff:
    """The inactive people, read whole at most every thirty seconds: they are few, and most calls then ask nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._read_at: float | None = None
        self._inactive: frozenset[tuple[str, Identity]] = frozenset()
        # One reader at a time: the others would only ask the same.
        self._reading = threading.Lock()

    def includes(self, identity: Identity, tenant: str) -> bool:
        """Return whether this subject is cut off in this tenant. Raises ServiceUnavailable if that cannot be known."""
        if self._is_due():
            with self._reading:
                if self._is_due():
                    self._read()
        return (tenant, identity) in self._inactive

    def forget(self) -> None:
        """Read anew at the next question."""
        self._read_at = None

    def _is_due(self) -> bool:
        return self._read_at is None or self._clock() - self._read_at >= SECONDS

    def _read(self) -> None:
        try:
            rows = Person.objects.filter(is_active=False).values_list("tenant", "issuer", "subject")
            self._inactive = frozenset((tenant, Identity(issuer, subject)) for tenant, issuer, subject in rows)
        except (DatabaseError, InterfaceError) as error:
            raise boundary.unavailable(error) from error
        self._read_at = self._clock()


cut_off = CutOff()
"""This worker's."""
