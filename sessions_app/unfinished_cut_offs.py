"""Finish cut-offs that had more to undo than one transaction does."""

import logging
from collections.abc import Collection

from django.db.models.expressions import RawSQL

from orchestrator import boundary
from orchestrator.actors import job
from orchestrator.people.models import Person
from orchestrator.problems import ServiceUnavailable
from sessions_app.transitions.person import finish_cut_off

MOST_PEOPLE = 100
"""How many people one look finds."""

# Driven by what is open: there are few open rows, and ever more people who were cut off.
_OPEN = """
SELECT p.id FROM people_person p JOIN (
  SELECT tenant, lease_issuer AS issuer, lease_subject AS subject FROM tasks WHERE status = 'active'
  UNION SELECT tenant, lease_for_issuer, lease_for_subject FROM tasks WHERE status = 'active'
  UNION SELECT tenant, created_by_issuer, created_by_subject FROM approvals WHERE status = 'pending'
  UNION SELECT tenant, on_behalf_of_issuer, on_behalf_of_subject FROM approvals WHERE status = 'pending'
  UNION SELECT a.tenant, d.decider_issuer, d.decider_subject
    FROM approvals a JOIN approval_decisions d ON d.approval_id = a.id
    WHERE a.status = 'pending' AND d.decision = 'approved' AND d.set_aside_at IS NULL
) AS has ON (has.tenant, has.issuer, has.subject) = (p.tenant, p.issuer, p.subject)
WHERE NOT p.is_active
"""


log = logging.getLogger(__name__)


def finish_cut_offs() -> int:
    """Undo, for each person who is cut off, what is still open of theirs; return how many rows that were.

    Each transaction undoes up to 1,000 rows of each kind of one person. A person whose rows fail or take too long stops
    no other. Raises ServiceUnavailable at once where the database is away, and the first other error at the end.
    """
    actor, count, seen = job("finish_cut_offs"), 0, set[int]()
    errors: list[Exception] = []
    while people := boundary.read(lambda: _unfinished(seen)):
        for person in people:
            try:
                done = boundary.write(lambda person=person: finish_cut_off(person, actor=actor))  # type: ignore[misc]
            except Exception as error:
                if isinstance(error, ServiceUnavailable) and not boundary.is_too_long(error):
                    raise
                log.exception("a cut-off cannot be finished", extra={"person": person.pk})
                errors.append(error)
                seen.add(person.pk)
                continue
            count += len(done.released) + len(done.set_aside) + len(done.cancelled)
            if not done.may_leave_some:
                seen.add(person.pk)
    if errors:
        raise errors[0]
    return count


def _unfinished(seen: Collection[int]) -> list[Person]:
    """Return people who are cut off and of whom something is open, but for those who were gone through."""
    found = Person.objects.filter(pk__in=RawSQL(_OPEN, []), is_active=False)  # noqa: S611
    return list(found.exclude(pk__in=seen).order_by("pk")[:MOST_PEOPLE])
