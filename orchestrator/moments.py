"""Moments as callers write them: RFC 3339, section 5.6, with an offset."""

import re
from datetime import UTC, datetime, timedelta

_FORM = re.compile(
    r"(?P<to_micros>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?)(?P<finer>\d*)"
    r"(?P<offset>Z|[+ -]([01]\d|2[0-3]):[0-5]\d)",
    re.IGNORECASE | re.ASCII,
)


def read(text: str) -> datetime | None:
    """The moment in UTC, or None where the text is none.

    What is finer than a microsecond, the grain of the rows, counts as the next one.
    """
    parts = _FORM.fullmatch(text)
    if parts is None:
        return None
    # In a query string a plus sign means a space, and few callers escape it.
    written = parts["to_micros"].upper() + parts["offset"].upper().replace(" ", "+")
    finer = timedelta(microseconds=1 if (parts["finer"] or "").strip("0") else 0)
    try:
        return datetime.fromisoformat(written).astimezone(UTC) + finer
    except (ValueError, OverflowError):
        return None
