"""What has chains. The trail does not know what it remembers: the settings name the models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import models

_INSTANT = """to_char("{}" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


@dataclass(frozen=True, slots=True)
class Subject:
    """A kind of row with chains: its noun, its table, and how its columns are told, as SQL by their names.

    `told` are the columns that events tell of when they change; `filed_under` is the one whose value is the role of
    all events. `steps` are the pairs of states between which an event may lead, None for a row that is not there.
    """

    noun: str
    table: str
    told: Mapping[str, str]
    filed_under: str
    steps: frozenset[tuple[str | None, str | None]]


def subjects() -> dict[str, Subject]:
    """All of them, by their nouns."""
    return {noun: _subject(noun, apps.get_model(path)) for noun, path in settings.AUDIT_SUBJECTS.items()}


def _subject(noun: str, model: Any) -> Subject:
    fields = {field.attname: field for field in model._meta.concrete_fields}
    told = {name: _as_told(fields[name]) for name in model.TOLD}
    return Subject(noun, model._meta.db_table, told, model.FILED_UNDER, model.steps())


def _as_told(field: "models.Field[Any, Any]") -> str:
    """A column as the trail tells it: a moment, an id and bytes as texts, all else as JSON has it."""
    target = field.target_field if isinstance(field, models.ForeignKey) else field
    if isinstance(target, models.DateTimeField):
        return _INSTANT.format(field.column)
    if isinstance(target, models.BinaryField):
        return f"encode(\"{field.column}\", 'hex')"
    if isinstance(target, models.UUIDField):
        return f'"{field.column}"::text'
    return f'"{field.column}"'
