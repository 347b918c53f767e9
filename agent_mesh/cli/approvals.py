"""`orchestrator approvals …`, and what approvers need: `inbox`, `approve`, `reject`"""

from typing import Annotated, Any

import typer

from agent_mesh.cli import showing
from agent_mesh.cli.calling import Count, Key, Reason, Row, Version, client, json_object, words
from agent_mesh.cli.showing import Json

app = typer.Typer(no_args_is_help=True, help="Questions put to people about tasks.")
_COLUMNS = ("approval_id", "status", "approver_role", "task_id", "reason", "action", "expires_at")
Comments = Annotated[str | None, typer.Option(help="Kept with the decision.")]


@app.command("list")
def list_(
    status: Annotated[str | None, typer.Option(help="One or more, with commas.")] = None,
    role: Annotated[str | None, typer.Option(help="The role whose people are asked.")] = None,
    task: Annotated[str | None, typer.Option(help="The id of the task in question.")] = None,
    count: Count = 20,
    as_json: Json = False,
) -> None:
    """List the newest."""
    filters: dict[str, Any] = {"status": words(status), "approver_role": role, "task_id": task}
    showing.rows(client().approvals.page(1, count, **filters)["approvals"], _COLUMNS, as_json=as_json)


@app.command()
def show(approval_id: Row, as_json: Json = False) -> None:
    """Show one: what exactly is asked, and what people said."""
    showing.one(client().approvals.get(approval_id), as_json=as_json)


@app.command()
def request(
    task_id: Row,
    approver_role: Annotated[str, typer.Argument(help="The role whose people decide.", show_default=False)],
    reason: Reason = None,
    action: Annotated[str | None, typer.Option(help="Exactly what is to be agreed to: a JSON object.")] = None,
    people: Annotated[int, typer.Option(min=1, max=10, help="How many have to agree.")] = 1,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Ask the people of a role about a task."""
    asked = client().approvals.request(
        task_id,
        approver_role,
        reason=reason,
        action=json_object(action),
        required_approvals=people,
        idempotency_key=key,
    )
    showing.one(asked, as_json=as_json)


@app.command()
def cancel(
    approval_id: Row, reason: Reason = None, version: Version = None, key: Key = None, as_json: Json = False
) -> None:
    """Ask it no more."""
    called_off = client().approvals.cancel(approval_id, reason=reason, version=version, idempotency_key=key)
    showing.one(called_off, as_json=as_json)


def inbox(count: Count = 20, as_json: Json = False) -> None:
    """List what awaits your own decision."""
    found = client().approvals.page(1, count, assignee="me", status="pending")["approvals"]
    showing.rows(found, _COLUMNS, as_json=as_json)
    if not found and not as_json:
        showing.remark("Nothing awaits you.")


@app.command()
def approve(
    approval_id: Row, comments: Comments = None, version: Version = None, key: Key = None, as_json: Json = False
) -> None:
    """Say yes."""
    decided = client().approvals.approve(approval_id, comments=comments, version=version, idempotency_key=key)
    showing.one(decided, as_json=as_json)


@app.command()
def reject(
    approval_id: Row, comments: Comments = None, version: Version = None, key: Key = None, as_json: Json = False
) -> None:
    """Say no."""
    decided = client().approvals.reject(approval_id, comments=comments, version=version, idempotency_key=key)
    showing.one(decided, as_json=as_json)
