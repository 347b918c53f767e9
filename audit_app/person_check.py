"""Verifying people: each at the end of its chain, with the rights that the last event tells."""

import json
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings

from audit_app.digests import digested
from audit_app.findings import Finding
from audit_app.snapshot import Raw

NOUN = "person"


def check_people(connection: Raw) -> Iterator[Finding]:
    """Find people whose rights are not what their chain tells, and chains whose person is gone.

    A row of version 0 has no chain yet: a maintenance job begins it.
    """
    model: Any = apps.get_model(settings.AUDIT_PEOPLE)
    table, columns = model._meta.db_table, ", ".join(f'p."{name}"' for name in model.TOLD)
    last = """
      (SELECT subject_id, max(seq) AS seq FROM audit_events
       WHERE subject_type = %(noun)s AND seq IS NOT NULL GROUP BY subject_id)"""
    people = f"""
      SELECT p.trail_id, p.version, p.tenant, p.issuer, p.subject, p.audit_head, e.hash, e.tenant, l.seq,
        (e.metadata -> 'changes')::text, {columns}
      FROM "{table}" p LEFT JOIN {last} AS l ON l.subject_id = p.trail_id
      LEFT JOIN audit_events e ON (e.subject_type, e.subject_id, e.seq) = (%(noun)s, p.trail_id, p.version)
      WHERE p.version <> 0 OR p.trail_id IS NOT NULL OR p.audit_head IS NOT NULL ORDER BY p.trail_id"""
    with connection.cursor("people") as cursor:
        for row in cursor.execute(people, {"noun": NOUN}):
            if (kind := _kind(row[1:], model.TOLD)) is not None:
                yield Finding(kind, NOUN, row[0], row[1])
    lost = f"""
      SELECT l.subject_id FROM {last} AS l
      WHERE NOT EXISTS (SELECT FROM "{table}" p WHERE p.trail_id = l.subject_id) ORDER BY l.subject_id"""
    with connection.cursor("lost_people") as cursor:
        for (pk,) in cursor.execute(lost, {"noun": NOUN}):
            yield Finding("gone", NOUN, pk)


def _kind(row: tuple[Any, ...], names: tuple[str, ...]) -> str | None:
    """Return what is wrong with a person, as a kind of finding, or None."""
    version, tenant, issuer, subject, head, digest, of_tenant, end, told, *rights = row
    if end is None:
        return "unrecorded"
    if told is None:
        return "tail"
    if digest != head or end != version:
        return "head"
    now = {name.removesuffix("_id"): value for name, value in zip(names, rights, strict=True)}
    known = digested({"person": {"issuer": issuer, "subject": subject}, **now})
    # An event may tell more, such as with whom an identity was linked.
    changes = json.loads(told)
    is_told = all(name in changes and changes[name] == value for name, value in known.items())
    return None if is_told and of_tenant == tenant else "told"
