"""Which known people can decide a request: those who logged in to the admin as approvers of its role."""

from collections.abc import Sequence
from uuid import UUID

from django.db import connection

from sessions_app.models import Approval
from sessions_app.models.approval import ApprovalStatus

# Linked identities are one person, whose main row stands for all of them. A person whose decision counts on another
# request that the same task waits for cannot decide this one; a person whose decision counts on this one is among those
# counted. The two functions are expensive: OFFSET 0 keeps them for the people of the role, and the count ends at the
# quorum.
_ABLE = """
SELECT asked.id, (SELECT count(*) FROM (
  SELECT FROM (
    SELECT me.issuers, me.subjects FROM people_person main
    CROSS JOIN LATERAL (SELECT array_agg(s.issuer) AS issuers, array_agg(s.subject) AS subjects
      FROM people_same(main.tenant, main.issuer, main.subject) s) AS me
    WHERE main.id IN (SELECT coalesce(p.alias_of_id, p.id) FROM people_person p
      WHERE p.tenant = asked.tenant AND p.is_active AND 'approver' = ANY(p.roles)
        AND asked.approver_role = ANY(p.agent_roles))
    OFFSET 0) AS known
  WHERE work_barred(asked.id, known.issuers, known.subjects) IS NULL
    AND coalesce(work_counted_on(asked.id, known.issuers, known.subjects), asked.id) = asked.id
  LIMIT asked.required_approvals) AS able)
FROM approvals asked WHERE asked.id = ANY(%s)
"""


def able(approvals: Sequence[Approval]) -> dict[UUID, int]:
    """Return, for each request, how many known people can decide it or have, at most its quorum; one query."""
    with connection.cursor() as cursor:
        cursor.execute(_ABLE, [[approval.pk for approval in approvals]])
        return dict(cursor.fetchall())


def look_up(approvals: Sequence[Approval]) -> None:
    """Set `known_approvers` of those requests that are open; at most one query."""
    waiting = [one for one in approvals if one.status == ApprovalStatus.PENDING and not one.is_overdue()]
    if waiting:
        known = able(waiting)
        for one in waiting:
            one.known_approvers = known[one.pk]
