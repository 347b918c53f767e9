"""How values look in the admin."""

import json
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet
from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

_BADGES = {
    "pending": "info",
    "blocked": "warning",
    "active": "primary",
    "completed": "success",
    "approved": "success",
    "failed": "danger",
    "rejected": "danger",
    "expired": "warning",
    "cut off": "danger",
    "lease-lost": "danger",
    "lost-delivery": "warning",
    "deadline-exceeded": "danger",
    "force-released": "warning",
}
"""The colour of each state, as the theme names them; any other state is grey."""

LONGEST = 200
"""How many rows a table on a page has at most."""

_DASH = "–"
_UNITS = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}


def warning(words: str) -> SafeString:
    """Return a short warning as a badge, in its own case and as long as it is."""
    class_ = "bg-orange-100 font-semibold px-2 py-0.5 rounded-default text-orange-700 text-xs"
    class_ += " dark:bg-orange-500/20 dark:text-orange-400"
    return format_html('<span class="{}" style="display: inline-block">{}</span>', class_, words)


def greyed(cell: Any) -> SafeString:
    """Return a value in grey: it counts no more."""
    return format_html('<span class="text-base-500 dark:text-base-400">{}</span>', cell)


def listed(lines: Sequence[Any]) -> SafeString:
    """Return values below each other."""
    items = format_html_join("", '<li style="margin-bottom: .25rem">{}</li>', ((line,) for line in lines))
    return format_html("<ul>{}</ul>", items)


def badge(state: str | None) -> SafeString:
    """A state in its colour."""
    if state is None:
        return SafeString(_DASH)
    return render_to_string("unfold/helpers/label.html", {"text": state, "type": _BADGES.get(state)})


def moment(at: datetime | None) -> SafeString:
    """A time to the second, in UTC, on one line."""
    if at is None:
        return SafeString(_DASH)
    return format_html('<span class="whitespace-nowrap">{}</span>', f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}")


def until(at: datetime | None, *, over: bool) -> SafeString:
    """A time at which something ends, and whether it is over."""
    return format_html("{}{}", moment(at), " (over)" if over else "")


def duration(seconds: int) -> str:
    """Return a length of time in its units, the largest first: "1 day 2 hours"."""
    parts = []
    for unit, size in _UNITS.items():
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return " ".join(parts) or "0 seconds"


def identity(issuer: str | None, subject: str | None) -> str:
    """Somebody, by issuer and subject."""
    return f"{issuer}|{subject}" if subject else _DASH


def document(value: Any) -> SafeString:
    """JSON as it is; what cannot be seen in it, or would turn the line around, is escaped."""
    if value is None:
        return SafeString(_DASH)
    written = "".join(map(_seen, json.dumps(value, indent=2, ensure_ascii=False)))
    return format_html('<pre style="overflow-wrap: anywhere; white-space: pre-wrap">{}</pre>', written)


def text(words: str | None) -> SafeString:
    """What somebody wrote, line by line."""
    return format_html('<div style="white-space: pre-wrap">{}</div>', words or _DASH)


def code(text: Any) -> SafeString:
    """Something to be copied as it stands. The theme's style sheet has no class to break it anywhere."""
    return format_html('<span class="font-mono" style="overflow-wrap: anywhere">{}</span>', text)


def linked(name: Any, page: str | None) -> SafeString:
    """A name that leads to a page, where there is one."""
    return format_html('<a class="text-link" href="{}">{}</a>', page, name) if page else format_html("{}", name)


def table(
    headers: Sequence[str], rows: QuerySet[Any] | Sequence[Any], cells: Callable[[Any], list[str]], *, title: str = ""
) -> dict[str, Any]:
    """The first rows, as the theme has tables, and whether there are more."""
    found = list(rows[: LONGEST + 1])
    shown = [cells(row) for row in found[:LONGEST]]
    return {"title": title, "headers": headers, "rows": shown, "is_cut": len(found) > LONGEST}


def _seen(character: str) -> str:
    """A character of JSON, escaped where it shows nothing: separators, controls, format characters (RFC 8259, 7)."""
    hidden = unicodedata.category(character)[0] in "CZ" and character not in " \n"
    return json.dumps(character)[1:-1] if hidden else character
