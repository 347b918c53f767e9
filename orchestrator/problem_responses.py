"""A problem becomes application/problem+json (RFC 9457): for DRF, for middleware, and for Django's own errors."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions
from rest_framework.exceptions import ErrorDetail
from rest_framework.response import Response
from rest_framework.views import set_rollback

from orchestrator.boundary import is_away, unavailable
from orchestrator.problems import (
    BadRequest,
    BodyTooLarge,
    Forbidden,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Problem,
    ServiceUnavailable,
    Unauthenticated,
)

CONTENT_TYPE = "application/problem+json"
log = logging.getLogger(__name__)


def document(problem: Problem, request: HttpRequest) -> dict[str, Any]:
    """The members of the problem document."""
    return {
        "type": f"/problems/{problem.slug}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": request.path,
        "request_id": getattr(request, "request_id", ""),
        **problem.members,
    }


class Refusal(HttpResponse):
    """The answer that a problem became, and which one that was."""

    slug: str


def response(problem: Problem, request: HttpRequest) -> HttpResponse:
    """The answer a middleware returns. It never raises one: Django would answer HTML before we saw it."""
    body = json.dumps(document(problem, request), ensure_ascii=False, separators=(",", ":"))
    refusal = Refusal(body.encode(), status=problem.status, content_type=CONTENT_TYPE, headers=problem.headers)
    refusal.slug = problem.slug
    return refusal


def from_view(error: Exception, context: Mapping[str, Any]) -> Response | HttpResponse | None:
    """DRF's exception handler. An unknown exception is no problem: it stays a 500 and is seen."""
    set_rollback()
    problem = as_problem(error)
    if problem is None:
        return None
    if isinstance(problem, ServiceUnavailable):
        log.warning("service unavailable", extra={"request": context["request"]._request}, exc_info=error)
    return response(problem, context["request"]._request)


def as_problem(error: Exception) -> Problem | None:
    """The problem that an exception amounts to, if it amounts to one."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, exceptions.ValidationError):
        return InvalidRequest(list(field_errors(error.detail)))
    if isinstance(error, exceptions.MethodNotAllowed):
        return MethodNotAllowed(str(error.detail))
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        return Unauthenticated()
    if isinstance(error, exceptions.PermissionDenied):
        return Forbidden()
    if isinstance(error, Http404 | exceptions.NotFound):
        return NotFound()
    if isinstance(error, DatabaseError | InterfaceError) and is_away(error):
        return unavailable(error)
    return None


def field_errors(detail: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield DRF's nested errors, each as its dotted field and its message."""
    if isinstance(detail, ErrorDetail | str):
        yield path or "body", str(detail)
    elif isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from field_errors(inner, path if name == "non_field_errors" else f"{path}.{name}".lstrip("."))
    else:
        for inner in detail:
            yield from field_errors(inner, path)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 400: a suspicious operation such as a Host that is not ours."""
    if isinstance(exception, RequestDataTooBig):
        return response(BodyTooLarge(settings.MAX_BODY_BYTES), request)
    return response(BadRequest(), request)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 403."""
    return response(Forbidden(), request)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 404."""
    return response(NotFound(), request)


def reads_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Wrap a plain Django view that takes GET and HEAD: OPTIONS says so, any other method is a 405."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method in ("GET", "HEAD"):
            return view(request, *args, **kwargs)
        answer = HttpResponse(status=204) if request.method == "OPTIONS" else response(MethodNotAllowed(), request)
        answer["Allow"] = "GET, HEAD, OPTIONS"
        return answer

    return guarded


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's 500: logged with its traceback by Django, told without it."""
    return response(InternalError(), request)
