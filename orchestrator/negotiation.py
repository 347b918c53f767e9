"""One format in, one format out: `Accept` is not judged."""

from collections.abc import Iterable
from typing import Any

from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request


class JsonOnly(BaseContentNegotiation):
    """The only parser and the only renderer there are."""

    def select_parser(self, request: Request, parsers: Iterable[Any]) -> Any:
        """The strict parser."""
        return next(iter(parsers))

    def select_renderer(self, request: Request, renderers: Iterable[Any], format_suffix: str | None = None) -> Any:
        """JSON."""
        renderer = next(iter(renderers))
        return renderer, renderer.media_type
