"""Verifying rows: each at the end of its chain, and every chain without a row ended by a deletion."""

from collections.abc import Iterator
from uuid import UUID

from audit_app.findings import Finding
from audit_app.snapshot import Raw
from audit_app.subjects import Subject


def differing_rows(connection: Raw, kind: str, noun: str, query: str, only: UUID | None) -> Iterator[Finding]:
    """Return a finding of a kind for each row, an id and a version, that a query selects.

    The query may name `%(noun)s` and `%(only)s`. Its rows are read as they come, however many.
    """
    with connection.cursor("differing") as cursor:
        for pk, version in cursor.execute(query, {"noun": noun, "only": only}):
            yield Finding(kind, noun, pk, version)


def check_rows(connection: Raw, subject: Subject, only: UUID | None) -> Iterator[Finding]:
    """Every row of a kind, or one, against the end of its chain; every chain without a row against its last word."""
    values = {"noun": subject.noun, "only": only}
    chains = f"""
      (SELECT subject_id, min(seq) AS first, max(seq) AS last FROM audit_events
       WHERE subject_type = %(noun)s AND seq IS NOT NULL {"" if only is None else "AND subject_id = %(only)s"}
       GROUP BY subject_id) AS c"""
    ends = f"""
      SELECT r.id, r.version, e.id IS NULL, e.hash IS DISTINCT FROM r.audit_head, c.last > r.version, c.first = 1,
        (e.to_status, e.tenant) IS NOT DISTINCT FROM (r.status, r.tenant)
      FROM "{subject.table}" r LEFT JOIN {chains} ON c.subject_id = r.id
      LEFT JOIN audit_events e ON (e.subject_type, e.subject_id, e.seq) = (%(noun)s, r.id, r.version)
      WHERE (e.id IS NULL OR c.last > r.version OR e.hash IS DISTINCT FROM r.audit_head
        OR (e.to_status, e.tenant, e.timestamp) IS DISTINCT FROM (r.status, r.tenant, r.updated_at))
        {"" if only is None else "AND r.id = %(only)s"} ORDER BY r.id"""
    with connection.cursor("rows") as cursor:
        for pk, version, unfinished, other_head, further, begun, as_told in cursor.execute(ends, values):
            kind = "status"
            if not begun:
                kind = "unrecorded"
            elif unfinished:
                kind = "tail"
            elif other_head or further:
                kind = "head"
            elif as_told:
                kind = "told"
            yield Finding(kind, subject.noun, pk, version)
    lost = f"""
      SELECT c.subject_id FROM {chains}
      WHERE NOT EXISTS (SELECT FROM "{subject.table}" r WHERE r.id = c.subject_id)
        AND NOT EXISTS (SELECT FROM audit_events d
          WHERE (d.subject_type, d.subject_id, d.seq) = (%(noun)s, c.subject_id, c.last)
          AND d.event_type = %(noun)s || '.deleted')
      ORDER BY c.subject_id"""
    with connection.cursor("lost") as cursor:
        for (pk,) in cursor.execute(lost, values):
            yield Finding("gone", subject.noun, pk)
