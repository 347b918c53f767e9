"""How values look in the admin."""

import json
from datetime import UTC, datetime
from typing import Any

from django.template.loader import render_to_string
from django.utils.html import format_html
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
}
"""The colour of each state, as the theme names them; any other state is grey."""

_DASH = "–"


def badge(state: str | None) -> SafeString:
    """A state in its colour."""
    if state is None:
        return SafeString(_DASH)
    return render_to_string("unfold/helpers/label.html", {"text": state, "type": _BADGES.get(state)})


def moment(at: datetime) -> SafeString:
    """A time to the second, in UTC, on one line."""
    return format_html('<span class="whitespace-nowrap">{}</span>', f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}")


def identity(issuer: str | None, subject: str | None) -> str:
    """Somebody, by issuer and subject."""
    return f"{issuer}|{subject}" if subject else _DASH


def document(value: Any) -> SafeString:
    """JSON as it is."""
    return format_html('<pre style="white-space: pre-wrap">{}</pre>', json.dumps(value, indent=2, ensure_ascii=False))


def code(text: Any) -> SafeString:
    """Something to be copied as it stands. The theme's style sheet has no class to break it anywhere."""
    return format_html('<span class="font-mono" style="overflow-wrap: anywhere">{}</span>', text)
