"""manage.py list_settings: docs/settings.md, written from the source of the settings."""

from typing import ClassVar

from orchestrator.generated import GeneratedPage
from orchestrator.settings_source import SOURCES, Setting, settings_of

HEAD = """\
# Settings

All of them are variables of the environment, read once, at the start, by readers that refuse what they cannot use: a
service that starts has understood every one. An empty variable is one that is not set. A secret may come as `NAME`, or
from the file that `NAME_FILE` names; with both set the service does not start.
[docker/.env.example](../docker/.env.example) has them all, to copy.

`DATABASE_OWNER_URL` is read by `make run` alone: the address that migrates. Elsewhere `manage.py migrate` is run with
that address as its `DATABASE_URL`.

Written from [settings.py](../orchestrator/settings.py) and its companions by `manage.py list_settings`; to change it,
change those and run that again.
"""


class Command(GeneratedPage):
    """The settings as a page."""

    help = "Write docs/settings.md from the source of the settings."
    page: ClassVar[str] = "docs/settings.md"
    source: ClassVar[str] = "settings"

    def document(self) -> str:
        """A table for each of their files."""
        return "\n".join([HEAD, *(_section(title, settings_of(path)) for title, path in SOURCES.items())])


def _section(title: str, known: list[Setting]) -> str:
    rows = "\n".join(_row(setting) for setting in known)
    return f"## {title}\n\n| variable | takes | unless set | means |\n|---|---|---|---|\n{rows}\n"


def _row(setting: Setting) -> str:
    names = f"`{setting.name}`" + (f", `{setting.name}_FILE`" if setting.is_secret else "")
    default = "must be set" if setting.default is None else f"`{setting.default}`" if setting.default else ""
    if setting.is_secret and setting.default:
        default = f"the file {default}"
    return f"| {names} | {setting.takes} | {default} | {setting.means} |".replace("  ", " ")
