"""Fields that take JSON's types for what they are: DRF's own would read "5" as a number and 5 as a text."""

from datetime import datetime
from typing import Any

from rest_framework import serializers

from orchestrator import documents, ids, moments, names

MAX_TEXT = 4000


class Text(serializers.CharField):
    """A JSON string, kept as it came."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        """Refuse numbers and the like, and what is only white space where blank is not allowed."""
        if not isinstance(data, str):
            self.fail("invalid")
        if not self.allow_blank and not data.strip():
            self.fail("blank")
        return super().to_internal_value(data)


class Name(Text):
    """A role, a kind or another name, in NFC: two names that look the same must be the same."""

    default_error_messages = {  # noqa: RUF012
        "unclean": "It must be printable and must not begin or end with white space.",
        "unseen": "It has a character that cannot be seen.",
    }

    def to_internal_value(self, data: Any) -> str:
        """Return the name in NFC. Refuse invisible characters and white space around it."""
        name = names.normal(super().to_internal_value(data))
        if name != name.strip() or not name.isprintable():
            self.fail("unclean")
        if not names.is_clear(name):
            self.fail("unseen")
        return name


class Whole(serializers.IntegerField):
    """A JSON number without a fraction."""

    def to_internal_value(self, data: Any) -> int:
        """Refuse strings and booleans."""
        if isinstance(data, bool) or not isinstance(data, int | float) or data != int(data):
            self.fail("invalid")
        return super().to_internal_value(int(data))


class Document(serializers.DictField):
    """A JSON object of at most 64 KiB, measured as compact UTF-8."""

    default_error_messages = {"too_large": "It may have {limit} bytes, and has {size}."}  # noqa: RUF012

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """The object as it came: the strict parser has judged what is in it."""
        if not isinstance(data, dict):
            self.fail("not_a_dict", input_type=type(data).__name__)
        if (size := documents.size(data)) > documents.MAX_BYTES:
            self.fail("too_large", limit=documents.MAX_BYTES, size=size)
        return data


class Anything(serializers.JSONField):
    """Any JSON value of at most 64 KiB, measured as compact UTF-8."""

    default_error_messages = {"too_large": "It may have {limit} bytes, and has {size}."}  # noqa: RUF012

    def to_internal_value(self, data: Any) -> Any:
        """The value as it came."""
        if (size := documents.size(data)) > documents.MAX_BYTES:
            self.fail("too_large", limit=documents.MAX_BYTES, size=size)
        return data


class Id(serializers.UUIDField):
    """A UUID in its usual form, in any case, with or without its noun before it."""

    def __init__(self, noun: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.noun = noun

    def to_internal_value(self, data: Any) -> Any:
        """Refuse numbers, braces and the other forms that Python would take."""
        found = ids.read(data, self.noun)
        if found is None:
            self.fail("invalid", value=data)
        return found


class Choice(serializers.ChoiceField):
    """One of a few words, in any case."""

    def to_internal_value(self, data: Any) -> str:
        """Lower-cased before it is looked up."""
        if not isinstance(data, str):
            self.fail("invalid_choice", input=data)
        return str(super().to_internal_value(data.lower()))


class Flag(serializers.BooleanField):
    """A JSON boolean."""

    def to_internal_value(self, data: Any) -> bool:
        """Refuse 0, 1 and words."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Number(serializers.FloatField):
    """A JSON number."""

    def to_internal_value(self, data: Any) -> float:
        """Refuse strings and booleans; what came as a whole number stays one."""
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        return data


class Moment(serializers.DateTimeField):
    """A date and time with its offset (RFC 3339, section 5.6)."""

    default_error_messages = {  # noqa: RUF012
        "unreadable": "It must be a date and time with an offset, such as 2026-01-31T09:00:00Z."
    }

    def to_internal_value(self, data: Any) -> datetime:
        """The moment in UTC."""
        at = moments.read(data) if isinstance(data, str) else None
        if at is None:
            self.fail("unreadable")
        return at


class OneOrMore(serializers.ListField):
    """One of something, or a list of up to ten."""

    def __init__(self, child: serializers.Serializer[Any], **kwargs: Any) -> None:
        super().__init__(child=child, min_length=1, max_length=10, **kwargs)

    def to_internal_value(self, data: Any) -> list[Any]:
        """Always a list."""
        return list(super().to_internal_value(data if isinstance(data, list) else [data]))
