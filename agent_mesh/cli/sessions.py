"""`orchestrator sessions …`"""

from typing import Annotated, Any

import typer

from agent_mesh.cli import showing
from agent_mesh.cli.calling import Count, Key, NeededReason, Reason, Row, Version, client, json_object, words
from agent_mesh.cli.showing import Json

app = typer.Typer(no_args_is_help=True, help="Agents' pieces of work.")
_COLUMNS = ("session_id", "status", "agent_role", "task_id", "version", "updated_at", "expires_at")
Metadata = Annotated[str | None, typer.Option(help="A JSON object.")]


@app.command("list")
def list_(
    status: Annotated[str | None, typer.Option(help="One or more, with commas.")] = None,
    role: Annotated[str | None, typer.Option(help="The agent role.")] = None,
    count: Count = 20,
    as_json: Json = False,
) -> None:
    """List the newest."""
    filters: dict[str, Any] = {"status": words(status), "agent_role": role}
    showing.rows(client().sessions.page(1, count, **filters)["sessions"], _COLUMNS, as_json=as_json)


@app.command()
def show(session_id: Row, as_json: Json = False) -> None:
    """Show one."""
    showing.one(client().sessions.get(session_id), as_json=as_json)


@app.command("open")
def open_(
    agent_role: Annotated[str, typer.Argument(help="The agent role that it belongs to.", show_default=False)],
    task: Annotated[str | None, typer.Option(help="The id of the task that it is about.")] = None,
    metadata: Metadata = None,
    ttl: Annotated[int | None, typer.Option(help="For how many seconds it may last.")] = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Open one."""
    opened = client().sessions.open(
        agent_role, task_id=task, metadata=json_object(metadata), ttl_seconds=ttl, idempotency_key=key
    )
    showing.one(opened, as_json=as_json)


@app.command()
def move(
    session_id: Row,
    status: Annotated[str, typer.Argument(help="Where to: active, completed, failed, expired.", show_default=False)],
    reason: Reason = None,
    version: Version = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Move one to another state."""
    said: Any = status
    moved = client().sessions.update(session_id, status=said, reason=reason, version=version, idempotency_key=key)
    showing.one(moved, as_json=as_json)


@app.command()
def delete(
    session_id: Row, reason: NeededReason, version: Version = None, key: Key = None, as_json: Json = False
) -> None:
    """Delete one that is over, as an operator. Its trail stays. Ends with 8 where a second person has to approve."""
    waits = client().sessions.delete(session_id, reason=reason, version=version, idempotency_key=key)
    showing.deleted("Session", session_id, waits, as_json=as_json)
