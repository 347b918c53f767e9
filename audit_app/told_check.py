"""Verifying what rows carry: each column as the last event that tells of it says, and whose row it is as the first."""

import json
from collections.abc import Iterator
from uuid import UUID

from audit_app.digests import digested
from audit_app.findings import Finding
from audit_app.row_check import differing_rows
from audit_app.snapshot import Raw
from audit_app.subjects import Subject


def check_told(connection: Raw, subject: Subject, only: UUID | None) -> Iterator[Finding]:
    """Every row of a kind, or one, whose columns are not what its chain tells.

    A column that no event of the chain tells of, since it came later than the row, is not looked at.
    """
    found = ", ".join(f"'{name}', {sql}" for name, sql in subject.told.items())
    # The texts of all changes one after the other are a document in which the last of a name counts.
    differing = f"""
      SELECT d.id, d.version, one.value::text, (d.found -> one.key)::text
      FROM (
        SELECT r.id, r.version, r.found, t.told
        FROM (SELECT id, version, jsonb_build_object({found}) AS found FROM "{subject.table}"
              {"" if only is None else "WHERE id = %(only)s"} OFFSET 0) AS r
        JOIN (SELECT subject_id, concat('{{', string_agg(members, ',' ORDER BY seq), '}}')::jsonb AS told
              FROM (SELECT e.subject_id, e.seq, substr(c.text, 2, length(c.text) - 2) AS members
                    FROM audit_events e
                    CROSS JOIN LATERAL (SELECT (e.metadata -> 'changes')::text AS text OFFSET 0) AS c
                    WHERE e.subject_type = %(noun)s AND e.seq IS NOT NULL AND c.text LIKE '{{_%%}}'
                      {"" if only is None else "AND e.subject_id = %(only)s"}) AS e
              GROUP BY subject_id OFFSET 0) AS t ON t.subject_id = r.id
        WHERE t.told <> r.found OFFSET 0
      ) AS d CROSS JOIN LATERAL jsonb_each(d.told) AS one
      WHERE d.found ? one.key AND one.value <> d.found -> one.key
      ORDER BY d.id"""
    last = None
    with connection.cursor("told") as cursor:
        for pk, version, told, now in cursor.execute(differing, {"noun": subject.noun, "only": only}):
            if pk != last and not _is_digest(told, now):
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
    yield from differing_rows(connection, "told", subject.noun, differing, only)


def check_reasons(connection: Raw, sessions: Subject, only: UUID | None) -> Iterator[Finding]:
    """Find the sessions, all or one, whose reason is not that of the last event that moved them."""
    differing = f"""
      SELECT r.id, r.version FROM "{sessions.table}" r LEFT JOIN LATERAL (
        SELECT e.reason FROM audit_events e WHERE e.subject_type = %(noun)s AND e.subject_id = r.id AND e.seq > 1
          AND e.from_status IS DISTINCT FROM e.to_status ORDER BY e.seq DESC LIMIT 1) AS moved ON true
      WHERE coalesce(r.reason, '') <> coalesce(moved.reason, '')
        {"" if only is None else "AND r.id = %(only)s"} ORDER BY r.id"""
    yield from differing_rows(connection, "told", sessions.noun, differing, only)


def check_traces(connection: Raw, tasks: Subject, only: UUID | None) -> Iterator[Finding]:
    """Find the tasks, all or one, whose trace is not that of their first event, or of the task that they repeat."""
    differing = f"""
      SELECT r.id, r.version FROM "{tasks.table}" r LEFT JOIN "{tasks.table}" was ON was.id = r.retry_of_id
      JOIN audit_events f ON (f.subject_type, f.subject_id, f.seq) = (%(noun)s, r.id, 1)
      WHERE r.trace_id <> coalesce(was.trace_id, f.trace_id)
        {"" if only is None else "AND r.id = %(only)s"} ORDER BY r.id"""
    yield from differing_rows(connection, "told", tasks.noun, differing, only)


def _is_digest(told: str, now: str) -> bool:
    """Whether a long value is told by its SHA-256 and its length; both as JSON, of whatever numbers."""
    try:
        value = json.loads(now)
        short = digested({"now": value})["now"]
        return short is not value and short == json.loads(told)
    except (ValueError, OverflowError, RecursionError):
        return False
