"""The statement that puts a row where it moved, without all that `save()` does around one."""

from collections.abc import Sequence
from typing import Any

from django.db import connection, models

from audit_app.trail import Statement
from sessions_app.models import Recorded


def inserted(row: Recorded) -> Statement:
    """The INSERT of a new row."""
    fields = row._meta.concrete_fields
    columns = ", ".join(f'"{field.column}"' for field in fields)
    return (
        f'INSERT INTO "{row._meta.db_table}" ({columns}) VALUES ({", ".join(["%s"] * len(fields))})',
        _values(row, fields),
    )


def updated(row: Recorded, columns: Sequence[str]) -> Statement:
    """The UPDATE of these columns of a locked row."""
    fields = [field for field in row._meta.concrete_fields if field.attname in columns]
    sets = ", ".join(f'"{field.column}" = %s' for field in fields)
    return f'UPDATE "{row._meta.db_table}" SET {sets} WHERE id = %s', [*_values(row, fields), row.pk]


def _values(row: Recorded, fields: "Sequence[models.Field[Any, Any]]") -> list[Any]:
    return [field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields]
