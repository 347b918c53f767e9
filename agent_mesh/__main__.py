"""`python -m agent_mesh`: the MCP server, over stdio or, with `--http HOST:PORT`, over streamable HTTP."""

import argparse
import logging
import sys

import uvicorn

from agent_mesh.callers import OneCaller
from agent_mesh.environment import Environment, Unusable
from agent_mesh.over_http import application
from agent_mesh.server import build


def main() -> None:
    """Serve until the client is gone, or until a signal."""
    parser = argparse.ArgumentParser(prog="python -m agent_mesh", description="The agent mesh as an MCP server.")
    parser.add_argument("--http", metavar="HOST:PORT", help="serve streamable HTTP there, instead of stdio")
    where = parser.parse_args().http
    # Nothing but the protocol goes to stdout.
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    try:
        serve_http(where) if where else serve_stdio()
    except Unusable as problem:
        sys.exit(f"agent_mesh: {problem}")


def serve_stdio() -> None:
    """For one caller, who started this process. Raises Unusable."""
    environment = Environment.of_process()
    tokens = environment.tokens()
    build(OneCaller(environment.cancellable_client(tokens), tokens)).run("stdio")


def serve_http(where: str) -> None:
    """For whoever brings a token. Raises Unusable."""
    host, _, port = where.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()):
        raise Unusable(f"--http takes HOST:PORT, such as 127.0.0.1:8090, not {where!r}.")
    app = application(Environment.of_process())
    uvicorn.run(app, host=host.strip("[]"), port=int(port), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
