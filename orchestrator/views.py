"""What every view of the API shares: a write runs in the boundary, a single row carries its version."""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSetMixin

from orchestrator import boundary, conditional, ids, unknown_members
from orchestrator.actors import Actor, Role
from orchestrator.hang_ups import has_hung_up
from orchestrator.problem_responses import field_errors
from orchestrator.problems import InvalidRequest

_READS = ("GET", "HEAD", "OPTIONS")


def is_keyed(request: HttpRequest) -> bool:
    """Whether the write boundary was opened already, for the request's Idempotency-Key."""
    return getattr(request, "keyed", False)


class ApiView(APIView):
    """DRF's view, but for its dispatch: what writes runs inside boundary.write(), from its first line to its answer."""

    request: Request
    is_lenient = False
    """Whether unknown members of the body are ignored because the caller prefers it. `read_body` decides."""

    query_parameters: ClassVar[Mapping[str, Collection[str]]] = {}
    """The query parameters that each action knows; one that ends with a dot is a beginning. Any other is a 400."""

    guards: ClassVar[bool] = False
    """Whether its bodies are part of what people have to agree to: then unknown members are refused always."""

    needed_roles: ClassVar[Mapping[str, Collection[Role]]] = {}
    """The roles that each writing action requires one of. A replay of a keyed answer is refused without one."""

    opens_boundary: ClassVar[Collection[str]] = ()
    """The actions that write and open the boundary themselves, since they wait before they do."""

    @classmethod
    def roles_for(cls, action: str, body: Any) -> Collection[Role]:  # noqa: ARG003  a view whose body decides overrides it
        """Return the roles that an action requires one of; none where the view does not declare the action."""
        return cls.needed_roles.get(action, ())

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """As DRF's, with the boundary around the handler."""
        self.args, self.kwargs = args, kwargs
        self.headers = self.default_response_headers
        self.request = drf_request = self.initialize_request(request, *args, **kwargs)
        try:
            self.initial(drf_request, *args, **kwargs)
            answer = self._handle(drf_request, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  handle_exception raises again what is no problem
            if is_keyed(request):
                # Whoever opened the boundary for the request's key decides by this what becomes of it.
                request.failure = error
            answer = self.handle_exception(error)
        if self.is_lenient and answer.status_code < 400:
            answer["Preference-Applied"] = unknown_members.LENIENT
        self.response = self.finalize_response(drf_request, answer, *args, **kwargs)
        return self.response

    def _handle(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        method = str(request.method)
        known = method.lower() in self.http_method_names
        handler = getattr(self, method.lower(), self.http_method_not_allowed) if known else self.http_method_not_allowed
        if handler == self.http_method_not_allowed:
            return handler(request, *args, **kwargs)
        self._insist_on_parameters(request)
        own = getattr(self, "action", None) in self.opens_boundary
        if method in _READS or own or is_keyed(request._request):
            return handler(request, *args, **kwargs)
        return boundary.write(lambda: handler(request, *args, **kwargs))

    def options(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:  # type: ignore[override]
        """Answer which methods the path takes, in `Allow` (RFC 9110, section 9.3.7)."""
        return HttpResponse(status=204, headers={"Allow": ", ".join(self.allowed_methods)})

    def _insist_on_parameters(self, request: Request) -> None:
        known = self.query_parameters.get(getattr(self, "action", ""), ())
        beginnings = tuple(name for name in known if name.endswith("."))
        errors = []
        for name, values in request.query_params.lists():
            if name not in known and not name.startswith(beginnings):
                errors.append((name, "There is no such query parameter here."))
            elif len(values) > 1:
                errors.append((name, "It may be given once."))
        if errors:
            raise InvalidRequest(errors)


class ApiViewSet(ViewSetMixin, ApiView):
    """A noun of the API."""

    # Whatever stands where an id should is read as one, and refused if it is none.
    lookup_value_regex = "[^/]+"

    @property
    def actor(self) -> Actor:
        """Who is calling."""
        caller = self.request.user
        assert isinstance(caller, Actor)
        return caller

    def has_hung_up(self) -> bool:
        """Return whether the caller has closed the connection, so that nobody will read the answer."""
        return has_hung_up(self.request._request.META)


def required_roles(request: HttpRequest, body: Any) -> Collection[Role]:
    """Return the roles that a call requires one of, from the view at its path; none where no view declares them."""
    try:
        view = resolve(request.path_info).func
    except Resolver404:
        return ()
    declared, actions = getattr(view, "cls", None), getattr(view, "actions", None) or {}
    action = actions.get(str(request.method).lower())
    if action is None or not (isinstance(declared, type) and issubclass(declared, ApiView)):
        return ()
    return declared.roles_for(action, body)


def read_body(serializer: type[Serializer[Any]], request: Request) -> dict[str, Any]:
    """Return the body as a serializer knows it.

    Unknown members are refused, unless the caller or the setting UNKNOWN_MEMBERS wants them ignored and the body has no
    guard. Raises InvalidRequest, which names them together with what else is wrong.
    """
    checked, body = serializer(data=request.data), request.data
    view = (request.parser_context or {})["view"]
    prefers = unknown_members.prefers_lenient(request.headers.get("Prefer", ""))
    ignores = prefers or settings.UNKNOWN_MEMBERS == "ignore"
    ignores = ignores and not view.guards and not unknown_members.has_guard(checked, body)
    view.is_lenient = prefers and ignores
    errors = [] if ignores else unknown_members.errors(checked, body)
    try:
        checked.is_valid(raise_exception=True)
    except ValidationError as error:
        errors += field_errors(error.detail)
    if errors:
        raise InvalidRequest(errors)
    return dict(checked.validated_data)


def given(body: dict[str, Any]) -> dict[str, Any]:
    """What a body says, where null is as if it were absent."""
    return {name: value for name, value in body.items() if value is not None}


def refuse_body(request: Request) -> None:
    """Raises InvalidRequest where a DELETE has one: it would say nothing (RFC 9110, section 9.3.5)."""
    if request._request.body:
        raise InvalidRequest([("body", "DELETE takes no body.")])


def read_id(text: str, noun: str = "") -> UUID:
    """An id from a path: a UUID in its usual form, in any case, with or without `<noun>-` before it.

    Raises InvalidRequest.
    """
    found = ids.read(text, noun)
    if found is None:
        raise InvalidRequest([("id", "It must be a UUID.")])
    return found


def one(shape: dict[str, Any], *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """The answer that carries one row: its version is its ETag."""
    return Response(shape, status=status, headers={**_told(shape["version"]), **(headers or {})})


def unchanged(version: int) -> Response:
    """304: the caller has this version already (RFC 9110, section 15.4.5: with the headers of the 200)."""
    return Response(status=304, headers=_told(version))


def _told(version: int) -> dict[str, str]:
    return {"ETag": conditional.etag(version), "Cache-Control": "private, no-cache"}
