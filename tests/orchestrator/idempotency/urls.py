"""The service's paths, and views that fail after they have written."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator import urls
from orchestrator.actors import Role
from orchestrator.problems import Forbidden, NotFound, PreconditionFailed, ServiceUnavailable
from orchestrator.views import ApiViewSet
from orchestrator.work_problems import IllegalTransition
from sessions_app.transitions.session import open_session
from tests.sessions_app.session_calls import somebody

ILLEGAL = IllegalTransition(before="pending", to="completed", allowed=("active",))


class Unrendered:
    """What no renderer knows."""


def _raising(error: Exception) -> Callable[[], Response]:
    def end() -> Response:
        raise error

    return end


ENDS: dict[str, Callable[[], Response]] = {
    "well": lambda: Response({"done": True}),
    "error": _raising(RuntimeError("a fault of ours")),
    "unrendered": lambda: Response({"done": Unrendered()}),
    "answered-500": lambda: Response({"done": False}, status=500),
    "answered-503": lambda: Response({"done": False}, status=503),
    "answered-409": lambda: Response({"done": False}, status=409),
    "forbidden": _raising(Forbidden()),
    "not-found": _raising(NotFound()),
    "precondition": _raising(PreconditionFailed(2)),
    "unavailable": _raising(ServiceUnavailable()),
    "denied": _raising(exceptions.PermissionDenied()),
    "shape": _raising(exceptions.ValidationError({"field": ["It is wrong."]})),
    "illegal": _raising(ILLEGAL),
}
"""How a call ends that has opened a session."""


class Opening(ApiViewSet):
    """Opens a session and then ends as the path says."""

    needed_roles: ClassVar = {"create": (Role.AGENT,)}
    afterwards: ClassVar[Callable[[], object] | None] = None
    """What happens between the rollback of an illegal transition and what comes next."""

    def create(self, request: Request, end: str) -> Response:
        _open()
        ILLEGAL.afterwards = Opening.afterwards
        return ENDS[end]()


def plain(request: HttpRequest) -> HttpResponse:
    """A view without DRF."""
    _open()
    if request.GET.get("end") == "error":
        raise RuntimeError("a fault of ours")
    return JsonResponse({"done": True})


def _open() -> Any:
    return open_session(actor=somebody(), role="finance", task=None, metadata={}, lasting=timedelta(days=1))


urlpatterns = [
    path("opening/<str:end>", Opening.as_view({"post": "create"})),
    path("plain", plain),
    *urls.urlpatterns,
]
handler400, handler403 = urls.handler400, urls.handler403
handler404, handler500 = urls.handler404, urls.handler500
