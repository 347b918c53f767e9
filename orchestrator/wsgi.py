"""The WSGI application that gunicorn serves."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.core.checks import Tags, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application
from django.db.backends.signals import connection_created
from django.urls import resolve
from django.utils.http import parse_header_parameters

from orchestrator.bodies import WholeBody
from orchestrator.database_term import term_guard
from orchestrator.patience import bounded

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator.settings")


def _is_readable(content_type: str) -> bool:
    """Whether its charset is ours. Django would read the query string with any other, above every check of ours."""
    try:
        charset = parse_header_parameters(content_type)[1].get("charset", "utf-8")
    except ValueError:
        return False
    return isinstance(charset, str) and charset.strip('"').lower() in ("utf-8", "utf8")


class MeasuredBodies:
    """What Django cannot be handed as it came: bodies in chunks, bodies that do not come, charsets of a stranger's.

    A body in chunks has no length, and Django would take it for empty: it gets the longest there may be and one more
    byte, and is measured when it is read, after the caller is known.
    """

    def __init__(self, inner: Callable[..., Iterable[bytes]]) -> None:
        self.inner = inner

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Serve one request."""
        if not _is_readable(environ.get("CONTENT_TYPE", "")):
            environ["CONTENT_TYPE"] = "application/octet-stream"
        environ["wsgi.input"] = WholeBody(environ["wsgi.input"])
        if environ.get("HTTP_TRANSFER_ENCODING") and not environ.get("CONTENT_LENGTH"):
            environ["orchestrator.chunked"] = True
            environ["CONTENT_LENGTH"] = str(settings.MAX_BODY_BYTES + 1)
        return self.inner(environ, start_response)


def refuse_what_is_unsafe() -> None:
    """Commands run Django's checks; gunicorn would serve without them. Raises ImproperlyConfigured."""
    serious = [found for found in run_checks(tags=[Tags.security]) if found.is_serious()]
    if serious:
        raise ImproperlyConfigured("\n".join(f"{found.id}: {found.msg} {found.hint}" for found in serious))


# Here, where threads are few and somebody waits for each; a command may run a statement for as long as it likes.
term_guard().install()
connection_created.connect(bounded)
_django = get_wsgi_application()
refuse_what_is_unsafe()
# Every view is imported now, and not while the first caller waits.
resolve("/")
application = MeasuredBodies(_django)
