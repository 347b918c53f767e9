"""The service as whoever runs the command, and what is read from the command line."""

from typing import Annotated, Any

import typer

from agent_mesh import exact
from agent_mesh.client import Client
from agent_mesh.environment import Environment
from agent_mesh.problems import NoToken

Row = Annotated[str, typer.Argument(help="Its id.", show_default=False)]
Reason = Annotated[str | None, typer.Option(help="Why; it is kept in the trail.")]
NeededReason = Annotated[str, typer.Option(help="Why; it is kept in the trail.", show_default=False)]
Count = Annotated[int, typer.Option("--count", "-n", min=1, max=100, help="How many at most.")]
Key = Annotated[str | None, typer.Option("--key", help="An Idempotency-Key: the same command with it is done once.")]
Version = Annotated[int | None, typer.Option("--version", help="Only if it is at this version still.")]


def client() -> Client:
    """As CONTROLLER_URL and MESH_JWT_TOKEN say. Raises Unusable, and NoToken where there is none."""
    environment = Environment.of_process()
    tokens = environment.tokens()
    if tokens is None:
        raise NoToken("There is no token: set MESH_JWT_TOKEN, or MESH_JWT_TOKEN_FILE.")
    return environment.client(tokens)


def stranger() -> Client:
    """For what anybody may ask. Raises Unusable."""
    return Environment.of_process().client(None)


def json_object(text: str | None) -> dict[str, Any] | None:
    """An option that is a JSON object. Raises typer.BadParameter."""
    if text is None:
        return None
    try:
        value = exact.loads(text)
    except exact.Inexact as error:
        raise typer.BadParameter(str(error)) from error
    except ValueError as error:
        raise typer.BadParameter(f"It is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise typer.BadParameter("It is JSON, but no object.")
    return value


def words(text: str | None) -> list[str] | None:
    """An option that may be several, with commas between them."""
    return [word.strip() for word in text.split(",")] if text else None
