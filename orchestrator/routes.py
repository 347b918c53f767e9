"""The template of the route that a path belongs to: what may be a label, where a path may not."""

import re
from functools import cache

from django.http import HttpRequest
from django.urls import Resolver404, resolve

NONE = "none"
"""What stands for every path that no route fits."""

_GROUP = re.compile(r"\(\?P<(\w+)>(?:[^()\\]|\\.)*\)")
_CONVERTER = re.compile(r"<(?:\w+:)?(\w+)>")
_IDS = {"pk": "id"}


def route_of(request: HttpRequest) -> str:
    """`/tasks/{id}/complete` for whatever id; the same set of words whoever asks for what."""
    match = request.resolver_match
    if match is None:
        # Answered before it came to a view: refused, or replayed under its key.
        try:
            match = resolve(request.path_info)
        except Resolver404:
            return NONE
    return template(match.route)


@cache
def template(route: str) -> str:
    """A route of Django's, of either kind, as OpenAPI writes paths."""
    plain = _CONVERTER.sub(_named, _GROUP.sub(_named, route))
    return "/" + re.sub(r"\\([.\-/])", r"\1", re.sub(r"\^|\$|\\Z", "", plain)).removeprefix("/")


def _named(found: re.Match[str]) -> str:
    return f"{{{_IDS.get(found[1], found[1])}}}"
