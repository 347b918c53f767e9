"""One request as the WSGI server hands it on: what Django's test client smooths over is seen here."""

import io
from typing import Any

from django.db import connections

from orchestrator.wsgi import application
from tests.api import token


def served(method: str, path: str, body: io.IOBase | None = None, **environ: Any) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and content of the answer. `environ` adds to the WSGI environment or replaces in it."""
    # One that a test before has kept: Django looks at it as a request begins, which no test without a database may do.
    connections.close_all()
    told: list[tuple[int, dict[str, str]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], error: object = None) -> Any:
        told.append((int(status[:3]), dict(headers)))

    request = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": "application/json",
        "HTTP_AUTHORIZATION": f"Bearer {token()}",
        "wsgi.url_scheme": "http",
        "wsgi.input": body or io.BytesIO(),
        **environ,
    }
    answer: Any = application(request, start_response)
    try:
        return *told[0], b"".join(answer)
    finally:
        answer.close()
