"""Which known people can decide a request: those who logged in to the admin as approvers of its role."""

from collections.abc import Sequence
from uuid import UUID

from django.db import connection

from sessions_app.models import Approval

# Linked identities are one person. Whose decision counts on another request that the same task waits for cannot decide
# this one; whose decision counts on this one is among them.
_ABLE = """
SELECT asked.id, (
  SELECT count(DISTINCT coalesce(p.alias_of_id, p.id)) FROM people_person p
  CROSS JOIN LATERAL (SELECT array_agg(s.issuer) AS issuers, array_agg(s.subject) AS subjects
    FROM people_same(p.tenant, p.issuer, p.subject) s) AS me
  WHERE p.tenant = asked.tenant AND p.is_active AND 'approver' = ANY(p.roles)
    AND asked.approver_role = ANY(p.agent_roles) AND work_barred(asked.id, me.issuers, me.subjects) IS NULL
    AND coalesce(work_counted_on(asked.id, me.issuers, me.subjects), asked.id) = asked.id)
FROM approvals asked WHERE asked.id = ANY(%s)
"""


def able(approvals: Sequence[Approval]) -> dict[UUID, int]:
    """Return, for each request, how many known people can decide it or have; one query."""
    with connection.cursor() as cursor:
        cursor.execute(_ABLE, [[approval.pk for approval in approvals]])
        return dict(cursor.fetchall())
