"""Who was cut off: an operator's word against a subject holds before its tokens expire."""

import threading
import time
from collections.abc import Callable

from django.db import DatabaseError, InterfaceError

from orchestrator.actors import Identity
from orchestrator.people.models import Person
from orchestrator.problems import ServiceUnavailable

SECONDS = 30
"""How long a worker may go on with what it read: a subject is shut out at the latest after this."""


class CutOff:
    """The inactive people, read whole at most every thirty seconds: they are few, and most calls then ask nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._read_at: float | None = None
        self._inactive: frozenset[Identity] = frozenset()
        # One reader at a time: the others would only ask the same.
        self._reading = threading.Lock()

    def includes(self, identity: Identity) -> bool:
        """Whether this subject is cut off. Raises ServiceUnavailable where that cannot be known: fail closed."""
        if self._is_due():
            with self._reading:
                if self._is_due():
                    self._read()
        return identity in self._inactive

    def forget(self) -> None:
        """Read anew at the next question."""
        self._read_at = None

    def _is_due(self) -> bool:
        return self._read_at is None or self._clock() - self._read_at >= SECONDS

    def _read(self) -> None:
        try:
            rows = Person.objects.filter(is_active=False).values_list("issuer", "subject")
            self._inactive = frozenset(Identity(issuer, subject) for issuer, subject in rows)
        except (DatabaseError, InterfaceError) as error:
            raise ServiceUnavailable("The database cannot be reached, or is too busy.") from error
        self._read_at = self._clock()


cut_off = CutOff()
"""This worker's."""
