"""The WSGI application that gunicorn serves."""

import codecs
import io
import os
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.core.checks import Tags, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application
from django.utils.http import parse_header_parameters

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator.settings")


def _is_readable(content_type: str) -> bool:
    """Whether Django can make a request of it: an encoded or unknown charset would end it before any view."""
    try:
        codecs.lookup(parse_header_parameters(content_type)[1].get("charset", "utf-8"))
    except (ValueError, LookupError):
        return False
    return True


class MeasuredBodies:
    """Gives a body that came in chunks a length: without one, Django would take it for empty.

    A chunked body is read up to one byte more than MAX_BODY_BYTES, which is enough for it to be refused. A media type
    that cannot be read becomes one that is refused.
    """

    def __init__(self, inner: Callable[..., Iterable[bytes]]) -> None:
        self.inner = inner

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Serve one request."""
        if not _is_readable(environ.get("CONTENT_TYPE", "")):
            environ["CONTENT_TYPE"] = "application/octet-stream"
        if not environ.get("CONTENT_LENGTH") and environ.get("wsgi.input_terminated"):
            body = environ["wsgi.input"].read(settings.MAX_BODY_BYTES + 1)
            environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        return self.inner(environ, start_response)


def refuse_what_is_unsafe() -> None:
    """Commands run Django's checks; gunicorn would serve without them. Raises ImproperlyConfigured."""
    serious = [found for found in run_checks(tags=[Tags.security]) if found.is_serious()]
    if serious:
        raise ImproperlyConfigured("\n".join(f"{found.id}: {found.msg} {found.hint}" for found in serious))


_django = get_wsgi_application()
refuse_what_is_unsafe()
application = MeasuredBodies(_django)
