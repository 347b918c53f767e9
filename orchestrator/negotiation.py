"""One format in, one format out: `Accept` is not judged."""

from collections.abc import Iterable, Mapping
from typing import IO, Any

from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
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


class ParsedJson(BaseParser):
    """Hands on what the middleware parsed."""

    media_type = "*/*"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The body as `request.json` has it."""
        return parser_context["request"]._request.json if parser_context else {}
