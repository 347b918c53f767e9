"""manage.py list_environment: docker/.env.example, written from the source of the settings."""

import re
import textwrap
from typing import ClassVar

from orchestrator.generated import GeneratedPage
from orchestrator.settings_source import SOURCES, Setting, settings_of

HEAD = """\
# Every setting of the service, as comments: `cp .env.example .env`, and take the # off what is to be otherwise.
# docs/settings.md is the same as a page. Secrets are better in files: give NAME_FILE instead of NAME.
# Written by `manage.py list_environment` from the settings.
"""
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")


class Command(GeneratedPage):
    """The settings as a file of the environment."""

    help = "Write docker/.env.example from the source of the settings."
    page: ClassVar[str] = "docker/.env.example"
    source: ClassVar[str] = "settings"

    def document(self) -> str:
        """Each with what it means, and with what holds unless it is set."""
        parts = [HEAD]
        for title, path in SOURCES.items():
            parts += [f"\n# {title}\n", *map(_lines, settings_of(path))]
        return "\n".join(parts)


def _lines(setting: Setting) -> str:
    says = _LINK.sub(r"\1", f"{setting.means} Takes {setting.takes}.").replace("`", "")
    comment = "\n".join(textwrap.wrap(says, 118, initial_indent="# ", subsequent_indent="# "))
    # What a file has, or what another setting decides, is no value to write here.
    value = "" if setting.is_secret or ";" in (setting.default or "") else setting.default or ""
    return f"{comment}\n#{setting.name}={value}\n"
