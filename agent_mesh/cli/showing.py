"""What a command shows: tables for people, JSON for programs. Both on stdout, anything else on stderr."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent_mesh.cli import ending

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

_WIDE = 200
_COLOURS = {
    "active": "cyan",
    "approved": "green",
    "completed": "green",
    "healthy": "green",
    "pending": "yellow",
    "blocked": "yellow",
    "degraded": "yellow",
    "failed": "red",
    "rejected": "red",
    "unhealthy": "red",
}
errors = Console(stderr=True)


def output() -> Console:
    """A pipe has no width that a table should fit in."""
    return Console() if sys.stdout.isatty() else Console(width=_WIDE)


def json_text(value: Any) -> str:
    """On one line; what a terminal would take for commands, or would turn around, stands there as an escape."""
    text = json.dumps(value, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def json_of(value: Any) -> None:
    """One document, on one line."""
    print(json_text(value), flush=True)


def rows(found: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """A list: a table of these columns, or all of it as a JSON array."""
    if as_json:
        json_of(list(found))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold", no_wrap=column.endswith("_id"))
    for row in found:
        table.add_row(*(_cell(row[column]) for column in columns))
    output().print(table)


def one(row: Mapping[str, Any], *, as_json: bool) -> None:
    """All of one thing."""
    if as_json:
        json_of(row)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in row.items():
        table.add_row(name.replace("_", " "), _cell(value))
    output().print(table)


def deleted(what: str, row: str, waits: Mapping[str, Any] | None, *, as_json: bool) -> None:
    """Show that a row is deleted, or the request that a second person has to approve. Raises typer.Exit for that."""
    if waits is not None:
        one(waits, as_json=as_json)
        remark(f"{what} {row} is not deleted yet. Once {waits['approval_id']} is approved, run the same command again.")
        raise typer.Exit(ending.NEEDS_APPROVAL)
    if as_json:
        json_of({"deleted": row})
    else:
        output().print(f"{what} {row} is deleted.", highlight=False)


def remark(sentence: str) -> None:
    """Something beside the answer, for a person."""
    errors.print(_printable(sentence), highlight=False, markup=False, soft_wrap=True)


def _cell(value: Any) -> Text:
    """As text, never as markup: what others wrote must not paint the screen."""
    if value is None:
        return Text("–")
    if isinstance(value, Mapping | list):
        return Text(json_text(value) if value else "–")
    text = _printable(str(value))
    return Text(text, style=_COLOURS.get(text, ""))


def _printable(text: str) -> str:
    """Without what a terminal would take for commands."""
    return "".join(char if char.isprintable() or char == "\n" else "�" for char in text)


def line(text: str) -> None:
    """A line for a person, as it is."""
    output().print(Text(_printable(text)), soft_wrap=True)
