"""All commands, and what becomes of an error."""

import sys

import typer

from agent_mesh import __version__
from agent_mesh.cli import approvals, ending, sessions, showing, tasks, trail
from agent_mesh.cli.calling import stranger
from agent_mesh.cli.showing import Json
from agent_mesh.environment import Unusable
from agent_mesh.problems import MeshError, Refused

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The orchestrator from a terminal. CONTROLLER_URL says where it is, MESH_JWT_TOKEN who you are.",
    epilog="Exit codes: 0 done, 1 refused, 2 wrong use, 3 the service is away, 4 no such thing, 5 no good token, "
    "6 it ended otherwise, 7 the time is up, 8 a second person has to approve.",
)
app.add_typer(sessions.app, name="sessions")
app.add_typer(tasks.app, name="tasks")
app.add_typer(approvals.app, name="approvals")
app.add_typer(trail.app, name="audit")
app.command("inbox")(approvals.inbox)
app.command("approve")(approvals.approve)
app.command("reject")(approvals.reject)


@app.command()
def status(as_json: Json = False) -> None:
    """Tell how the service is. Ends with 3 where it is not well."""
    showing.one(stranger().service.health(), as_json=as_json)


@app.command()
def version() -> None:
    """Tell the version of this program."""
    print(__version__)


def main() -> None:
    """Run a command, and end with a code that says how it went."""
    try:
        app()
    except (MeshError, Unusable, ValueError) as error:
        if "--json" in sys.argv:
            members = {"status": error.status, **error.problem.members} if isinstance(error, Refused) else {}
            kind = error.slug if isinstance(error, Refused) else type(error).__name__
            showing.json_of({"error": kind, "message": str(error), **members, **_open(error)})
        showing.remark(f"orchestrator: {error}")
        for key in _open(error).values():
            showing.remark(f"It may or may not have been done. The same command with --key {key} is done once.")
        sys.exit(ending.WRONG_USE if isinstance(error, ValueError) else ending.code(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _open(error: Exception) -> dict[str, str]:
    """The key of a write of which nobody knows whether it was done."""
    return {"idempotency_key": error.key} if isinstance(error, MeshError) and error.maybe_done and error.key else {}
