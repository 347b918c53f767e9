"""What each request came to: a line in the log, and numbers."""

import logging
import time

from django.http import HttpResponse

from orchestrator.metrics import HTTP_REQUEST_SECONDS, HTTP_REQUESTS, HTTP_REQUESTS_IN_PROGRESS, REFUSALS
from orchestrator.middleware import Call, Middleware
from orchestrator.problem_responses import Refusal
from orchestrator.routes import route_of

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
"""What stands for every other method: anybody may make up as many as they like."""

access = logging.getLogger("orchestrator.access")


class Observed(Middleware):
    """Logs each answer once, without query, headers or body, and counts it by its route and never by its path."""

    def __call__(self, request: Call) -> HttpResponse:
        """Hand the request on, and look at the clock before and after."""
        started = time.monotonic()
        with HTTP_REQUESTS_IN_PROGRESS.track_inprogress():
            answer = self.get_response(request)
        seconds, route = time.monotonic() - started, route_of(request)
        _count(request, answer, route, seconds)
        _log(request, answer, route, seconds)
        return answer


def _count(request: Call, answer: HttpResponse, route: str, seconds: float) -> None:
    method = request.method if request.method in METHODS else OTHER
    HTTP_REQUESTS.labels(method, route, str(answer.status_code)).inc()
    HTTP_REQUEST_SECONDS.labels(method, route).observe(seconds)
    if isinstance(answer, Refusal):
        REFUSALS.labels(answer.slug).inc()


def _log(request: Call, answer: HttpResponse, route: str, seconds: float) -> None:
    told: dict[str, object] = {
        "request": request,
        "span_id": request.trace.span_id,
        "method": request.method,
        "path": request.path,
        "route": route,
        "status": answer.status_code,
        "milliseconds": round(seconds * 1000, 1),
    }
    if request.trace.parent_id is not None:
        told["parent_id"] = request.trace.parent_id
    if isinstance(answer, Refusal):
        told["problem"] = answer.slug
    access.info("request", extra=told)
