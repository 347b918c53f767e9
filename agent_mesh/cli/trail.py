"""`orchestrator audit …`"""

import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from agent_mesh.cli import showing
from agent_mesh.cli.calling import Count, client, words
from agent_mesh.cli.showing import Json
from agent_mesh.client import Client
from agent_mesh.shapes import Event

app = typer.Typer(no_args_is_help=True, help="The trail.")
# Events come in the order of their transactions, which is not quite that of their times.
_OVERLAP = timedelta(seconds=30)
Subject = Annotated[str | None, typer.Option(help="The id of a session, task or approval.")]
Kind = Annotated[str | None, typer.Option("--type", help="One or more types of events, with commas.")]
Actor = Annotated[str | None, typer.Option(help="Who did it, as <issuer>|<subject>.")]


@app.command()
def tail(
    subject: Subject = None,
    kind: Kind = None,
    actor: Actor = None,
    count: Count = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.2, help="How often to look, in seconds.")] = 2.0,
    as_json: Json = False,
) -> None:
    """Show the last events, the newest last; as JSON, a line for each."""
    filters = _filters(subject, kind, actor)
    me = client()
    last = list(reversed(me.audit.page(1, count, **filters)["events"]))
    _show(last, as_json=as_json)
    if follow:
        for event in _following(me, last, every, filters):
            _show([event], as_json=as_json)


@app.command()
def export(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; stdout unless given.")] = None,
    subject: Subject = None,
    kind: Kind = None,
    actor: Actor = None,
) -> None:
    """Write all events as NDJSON, the oldest first."""
    filters = _filters(subject, kind, actor)
    me = client()
    total = me.audit.page(1, 1, **filters).get("total")
    with Progress(console=showing.errors, transient=True) as progress:
        task = progress.add_task("Exporting", total=total)
        with output.open("w", encoding="utf-8") if output else nullcontext(sys.stdout) as file:
            for event in me.audit.export(**filters):
                print(showing.json_text(event), file=file)
                progress.advance(task)


def _filters(subject: str | None, kind: str | None, actor: str | None) -> dict[str, Any]:
    return {"subject_id": subject, "event_type": words(kind), "actor": actor}


def _following(me: Client, known: list[Event], every: float, filters: dict[str, Any]) -> Iterator[Event]:
    """Yield what comes, each event once. The feed ends below running transactions, so none is missed."""
    times = {event["event_id"]: datetime.fromisoformat(event["timestamp"]) for event in known}
    newest = max(times.values(), default=None)
    since = newest - _OVERLAP if newest else None
    if newest:
        before = me.audit.walk(after=since, **filters)
        times |= {event["event_id"]: datetime.fromisoformat(event["timestamp"]) for event in before}
    seen = {event_id for event_id, at in times.items() if newest and at <= newest}
    cursor = ""
    while True:
        time.sleep(every)
        # The last page has no cursor that leads on: it is read again until it is full.
        following: str | None = cursor
        while following is not None:
            cursor = following
            page = me.audit.since(cursor, order="oldest", after=since, **filters)
            ids = {event["event_id"] for event in page["events"]}
            yield from (event for event in page["events"] if event["event_id"] not in seen)
            following = page["next_cursor"]
            # What lies before a cursor does not come again.
            seen = seen | ids if following is None else seen - ids


def _show(events: list[Event], *, as_json: bool) -> None:
    if as_json:
        for event in events:
            showing.json_of(event)
        return
    for event in events:
        row: dict[str, Any] = {**event}
        move = f"{row['from'] or '-'} → {row['to'] or '-'}"
        said = (row["timestamp"], row["event_type"], move, row["actor"], row["subject_id"] or "-", row["reason"])
        showing.line("  ".join(part for part in said if part))
