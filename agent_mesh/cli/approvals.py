"""`orchestrator approvals …`, and what approvers need: `inbox`, `approve`, `reject`"""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from agent_mesh.cli import showing
from agent_mesh.cli.calling import Count, Key, Reason, Row, Version, client, json_object, words
from agent_mesh.cli.showing import Json
from agent_mesh.shapes import Approval

app = typer.Typer(no_args_is_help=True, help="Requests that people agree to a task, or to one action.")
_COLUMNS = (
    *("approval_id", "status", "kind", "approver_role", "about", "reason", "action", "decisions", "earlier"),
    *("expires_at", "approved_until"),
)
_NOT_YOURS = (
    "Nothing awaits you. You see {} open requests that this token may not decide: other people decide them, or tokens "
    "of this client may not decide, and you decide in the admin."
)
Comments = Annotated[str | None, typer.Option(help="Kept with the decision.")]


@app.command("list")
def list_(
    status: Annotated[str | None, typer.Option(help="One or more, with commas.")] = None,
    role: Annotated[str | None, typer.Option(help="The role whose people are asked.")] = None,
    task: Annotated[str | None, typer.Option(help="The id of the task in question.")] = None,
    session: Annotated[str | None, typer.Option(help="The id of the session that the action is part of.")] = None,
    count: Count = 20,
    as_json: Json = False,
) -> None:
    """List the newest."""
    filters: dict[str, Any] = {"status": words(status), "approver_role": role, "task_id": task, "session_id": session}
    _show_list(client().approvals.page(1, count, **filters)["approvals"], as_json=as_json)


@app.command()
def show(approval_id: Row, as_json: Json = False) -> None:
    """Show one: what exactly is asked, and what people said."""
    showing.one(client().approvals.get(approval_id), as_json=as_json)


@app.command()
def request(
    task_or_role: Annotated[
        str,
        typer.Argument(metavar="[TASK_ID]", help="The task's id. Leave it out to ask about --action alone."),
    ],
    role: Annotated[
        str | None, typer.Argument(metavar="APPROVER_ROLE", help="The role whose people decide.", show_default=False)
    ] = None,
    reason: Reason = None,
    action: Annotated[str | None, typer.Option(help="Exactly what is to be agreed to: a JSON object.")] = None,
    session: Annotated[str | None, typer.Option(help="The session that an action without a task is part of.")] = None,
    people: Annotated[int, typer.Option(min=1, max=10, help="How many have to agree.")] = 1,
    expires_in: Annotated[int | None, typer.Option(help="For how many seconds people may decide.")] = None,
    use_within: Annotated[int | None, typer.Option(help="For how many seconds a grant may be used.")] = None,
    reopens: Annotated[str | None, typer.Option(help="Operators: the rejected request to open again.")] = None,
    replaces: Annotated[str | None, typer.Option(help="Operators: the open request to replace.")] = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Ask the people of a role about a task, or about one action without a task."""
    task_id, approver_role = (None, task_or_role) if role is None else (task_or_role, role)
    asked = client().approvals.request(
        task_id,
        approver_role,
        session_id=session,
        reason=reason,
        action=json_object(action),
        required_approvals=people,
        expires_in_seconds=expires_in,
        use_within_seconds=use_within,
        reopens=reopens,
        replaces=replaces,
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
    approvals = client().approvals
    found = approvals.page(1, count, assignee="me", status="pending")["approvals"]
    _show_list(found, as_json=as_json)
    if not found and not as_json:
        # The service offers nothing to a token whose client may not decide, and does not say why the list is empty.
        others = approvals.page(1, 1, status="pending")["total"]
        showing.remark(_NOT_YOURS.format(others) if others else "Nothing awaits you.")


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


@app.command()
def withdraw(
    approval_id: Row, comments: Comments = None, version: Version = None, key: Key = None, as_json: Json = False
) -> None:
    """Take back your own decision, while the request is open."""
    left = client().approvals.withdraw(approval_id, comments=comments, version=version, idempotency_key=key)
    showing.one(left, as_json=as_json)


def _show_list(found: Sequence[Approval], *, as_json: bool) -> None:
    """Show all of each request as JSON, or a table of what people need to know before they look at one."""
    showing.rows(found if as_json else [_row(approval) for approval in found], _COLUMNS, as_json=as_json)


def _row(approval: Approval) -> dict[str, Any]:
    set_aside = sum(one["set_aside_at"] is not None for one in approval["decisions"])
    agreed = sum(one["decision"] == "approved" and one["set_aside_at"] is None for one in approval["decisions"])
    outcomes = Counter(one["outcome"] for one in approval["earlier"])
    about = approval["task_id"] or (f"session {approval['session_id']}" if approval["session_id"] else None)
    return {
        **approval,
        "about": about,
        "decisions": f"{agreed} of {approval['required_approvals']}{f', {set_aside} set aside' if set_aside else ''}",
        "earlier": ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()) or None,
    }
