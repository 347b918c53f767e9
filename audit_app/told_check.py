"""Verifying what rows carry: each column as the last event that tells of it says, and whose row it is as the first."""

import json
from collections.abc import Iterator
from uuid import UUID

from audit_app import trail
from audit_app.findings import Finding
from audit_app.snapshot import Raw
from audit_app.subjects import Subject


def check_told(connection: Raw, subject: Subject, only: UUID | None) -> Iterator[Finding]:
    """Every row of a kind, or one, whose columns are not what its chain tells.

    A column that no event of the chain tells of, since it came later than the row, is not looked at.
    """
    found = ", ".join(f"'{name}', {sql}" for name, sql in subject.told.items())
    differing = f"""
      SELECT r.id, r.version, one.key, one.value::text, (r.found -> one.key)::text
      FROM (SELECT id, version, jsonb_build_object({found}) AS found FROM "{subject.table}"
            {"" if only is None else "WHERE id = %(only)s"}) AS r
      JOIN (SELECT e.subject_id, jsonb_object_agg(c.key, c.value ORDER BY e.seq) AS told
            FROM audit_events e CROSS JOIN LATERAL jsonb_each(
              CASE jsonb_typeof(e.metadata -> 'changes') WHEN 'object' THEN e.metadata -> 'changes' END) AS c
            WHERE e.subject_type = %(noun)s AND e.seq IS NOT NULL AND e.metadata <> '{{"changes": {{}}}}'
              {"" if only is None else "AND e.subject_id = %(only)s"}
            GROUP BY e.subject_id) AS t ON t.subject_id = r.id
      CROSS JOIN LATERAL jsonb_each(t.told) AS one
      WHERE t.told <> r.found AND r.found ? one.key AND one.value <> r.found -> one.key
      ORDER BY r.id"""
    last = None
    with connection.cursor("told") as cursor:
        for pk, version, _, told, now in cursor.execute(differing, {"noun": subject.noun, "only": only}):
            if pk != last and not _is_digest(json.loads(told), json.loads(now)):
                last = pk
                yield Finding("told", subject.noun, pk, version)


def check_origins(connection: Raw, subject: Subject, only: UUID | None) -> Iterator[Finding]:
    """Every row of a kind, or one, that was made when, by whom, for whom or as what its first event does not say."""
    differing = f"""
      SELECT r.id, r.version FROM "{subject.table}" r
      JOIN audit_events f ON (f.subject_type, f.subject_id, f.seq) = (%(noun)s, r.id, 1)
      WHERE (r.created_at, r.created_by_issuer, r.created_by_subject, r.{subject.filed_under},
             r.on_behalf_of_issuer, r.on_behalf_of_subject)
        IS DISTINCT FROM (f.timestamp, f.actor_issuer, f.actor_subject, f.role,
                          f.on_behalf_of_issuer, f.on_behalf_of_subject)
        {"" if only is None else "AND r.id = %(only)s"} ORDER BY r.id"""
    with connection.cursor("origins") as cursor:
        for pk, version in cursor.execute(differing, {"noun": subject.noun, "only": only}):
            yield Finding("told", subject.noun, pk, version)


def _is_digest(told: object, now: object) -> bool:
    """Whether a long value is told by its SHA-256 and its length."""
    short = trail.digested({"now": now})["now"]
    return short is not now and short == told
