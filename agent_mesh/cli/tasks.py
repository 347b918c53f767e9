"""`orchestrator tasks …`"""

import time
from typing import Annotated, Any

import typer

from agent_mesh.cli import ending, showing
from agent_mesh.cli.calling import Count, Key, NeededReason, Reason, Row, Version, client, json_object, words
from agent_mesh.cli.showing import Json
from agent_mesh.client import Client
from agent_mesh.shapes import Task

app = typer.Typer(no_args_is_help=True, help="Work that one role routes to another.")
_COLUMNS = ("task_id", "status", "task_type", "from_role", "to_role", "priority", "attempt", "updated_at")
_OVER = ("completed", "failed", "cancelled")
_SHARE_SECONDS = 20
Object = Annotated[str | None, typer.Option(help="A JSON object.")]


@app.command("list")
def list_(
    status: Annotated[str | None, typer.Option(help="One or more, with commas.")] = None,
    to: Annotated[str | None, typer.Option(help="The agent role that is to do it.")] = None,
    kind: Annotated[str | None, typer.Option("--type", help="The kind of work.")] = None,
    trace: Annotated[str | None, typer.Option(help="The trace that it belongs to.")] = None,
    count: Count = 20,
    as_json: Json = False,
) -> None:
    """List the newest."""
    filters: dict[str, Any] = {"status": words(status), "to_role": to, "task_type": kind, "trace_id": trace}
    showing.rows(client().tasks.page(1, count, **filters)["tasks"], _COLUMNS, as_json=as_json)


@app.command()
def show(task_id: Row, as_json: Json = False) -> None:
    """Show one, with its sessions, approvals and attempts."""
    showing.one(client().tasks.get(task_id, include=["sessions", "approvals", "attempts"]), as_json=as_json)


@app.command()
def send(
    target: Annotated[str, typer.Argument(help="The agent role that is to do it.", show_default=False)],
    task_type: Annotated[str, typer.Argument(help="The kind of work.", show_default=False)],
    description: Annotated[str | None, typer.Argument(help="What is to be done.")] = None,
    data: Object = None,
    context: Object = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Route one to a role."""
    sent = client().tasks.route(
        target,
        task_type,
        description=description,
        data=json_object(data),
        context=json_object(context),
        idempotency_key=key,
    )
    showing.one(sent, as_json=as_json)


@app.command()
def wait(
    task_id: Row,
    seconds: Annotated[float, typer.Option("--for", min=0, help="For how many seconds at most.")] = 300,
    as_json: Json = False,
) -> None:
    """Wait until one is over. Ends with 0 if it was completed, 6 if it ended otherwise, 7 if the time is up."""
    me = client()
    with showing.errors.status(f"Waiting for task {task_id} …"):
        task = _over(me, me.tasks.get(task_id), time.monotonic() + seconds)
    showing.one(task, as_json=as_json)
    if task["status"] not in _OVER:
        raise typer.Exit(ending.TIME_UP)
    if task["status"] != "completed":
        raise typer.Exit(ending.ENDED_OTHERWISE)


def _over(me: Client, task: Task, ends_at: float) -> Task:
    while task["status"] not in _OVER and (left := ends_at - time.monotonic()) > 0:
        share = max(1, min(_SHARE_SECONDS, int(left)))
        begun_at = time.monotonic()
        task = me.tasks.wait(task["task_id"], version=task["version"], seconds=share)
        if task["status"] not in _OVER and time.monotonic() - begun_at < 1:
            time.sleep(min(1.0, left))  # where too many wait, the service answers at once
    return task


@app.command()
def cancel(
    task_id: Row, reason: Reason = None, version: Version = None, key: Key = None, as_json: Json = False
) -> None:
    """Call one off; who holds it is told."""
    showing.one(client().tasks.cancel(task_id, reason=reason, version=version, idempotency_key=key), as_json=as_json)


@app.command("force-release")
def force_release(
    task_id: Row,
    reason: NeededReason,
    version: Version = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Take one from its holder, as an operator."""
    freed = client().tasks.force_release(task_id, reason=reason, version=version, idempotency_key=key)
    showing.one(freed, as_json=as_json)


@app.command()
def retry(task_id: Row, reason: Reason = None, version: Version = None, key: Key = None, as_json: Json = False) -> None:
    """Have the work of a failed one done again, as an operator."""
    showing.one(client().tasks.retry(task_id, reason=reason, version=version, idempotency_key=key), as_json=as_json)


@app.command()
def delete(task_id: Row, reason: NeededReason, version: Version = None, key: Key = None, as_json: Json = False) -> None:
    """Delete one that is over, as an operator. Its trail stays. Ends with 8 where a second person has to approve."""
    waits = client().tasks.delete(task_id, reason=reason, version=version, idempotency_key=key)
    showing.deleted("Task", task_id, waits, as_json=as_json)
