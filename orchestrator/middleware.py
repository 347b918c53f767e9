"""One job each, true of every request."""

import logging
import re
import secrets
from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse

from bearer_tokens.subjects import InvalidToken
from orchestrator import parsing, rate_limit
from orchestrator.actors import Actor, Origin, Via
from orchestrator.addresses import client_address
from orchestrator.auth import bearer, verify
from orchestrator.bodies import whole_body
from orchestrator.people.cut_off import cut_off
from orchestrator.problem_responses import response
from orchestrator.problems import BadRequest, BodyTooLarge, Problem, Unauthenticated, UnsupportedMediaType
from orchestrator.pseudonyms import pseudonym
from orchestrator.traces import Trace, trace_of

# The last three do not fall back to the first.
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

Handler = Callable[[HttpRequest], HttpResponse]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_JSON = ("application/json",)
_MERGE_PATCH = ("application/json", "application/merge-patch+json")

log = logging.getLogger("orchestrator.auth")


class Call(HttpRequest):
    """A request as the middleware leaves it, for the type checker: what each of them adds.

    `log_names` is what every line of the log that is about it says of it.
    """

    request_id: str
    trace: Trace
    log_names: dict[str, str]
    caller: Actor | None
    json: object
    key_hash: str | None


class Middleware:
    """What Django asks of one."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response


class RequestId(Middleware):
    """Names the request and its trace, and tells both in the answer."""

    def __call__(self, request: Call) -> HttpResponse:
        """Take `X-Request-Id` where it is well formed, else mint one; the same for the trace."""
        given = request.headers.get("X-Request-Id", "")
        request.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
        request.trace = trace_of(request)
        request.log_names = {"request_id": request.request_id, "trace_id": request.trace.id}
        answer = self.get_response(request)
        answer["X-Request-Id"], answer["X-Trace-Id"] = request.request_id, request.trace.id
        if span := request.trace.response:
            answer["traceresponse"] = span
        # RFC 9110, section 8.6: a 204 has no length, and that of a 304 would be the 200's.
        if not answer.streaming and answer.status_code not in (204, 304):
            answer["Content-Length"] = str(len(answer.content))
        return answer


class SafeHeaders(Middleware):
    """What keeps a browser from making more of an answer than it is."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Add them where the view has set none of its own."""
        answer = self.get_response(request)
        if request.is_secure() and settings.SECURE_HSTS_SECONDS:
            below = "; includeSubDomains" if settings.SECURE_HSTS_INCLUDE_SUBDOMAINS else ""
            answer.headers.setdefault("Strict-Transport-Security", f"max-age={settings.SECURE_HSTS_SECONDS}{below}")
        answer.headers.setdefault("X-Content-Type-Options", "nosniff")
        answer.headers.setdefault("X-Frame-Options", "DENY")
        answer.headers.setdefault("Referrer-Policy", "no-referrer")
        answer.headers.setdefault("Cache-Control", "no-store")
        answer.headers.setdefault("Content-Security-Policy", _POLICY)
        return answer


class KnownHost(Middleware):
    """Refuses a Host that is not ours (ALLOWED_HOSTS): Django judges it only where something asks for it."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """400 for any other."""
        try:
            request.get_host()
        except DisallowedHost:
            return response(BadRequest("The Host header names none of this service's hosts."), request)
        return self.get_response(request)


class BodyLimit(Middleware):
    """Refuses a body by its length, before anything reads it."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """413 above MAX_BODY_BYTES."""
        length = (request.META.get("CONTENT_LENGTH") or "0").lstrip("0") or "0"
        if request.META.get("orchestrator.chunked"):
            return self.get_response(request)
        if length.isascii() and length.isdigit() and int(length[:20]) > settings.MAX_BODY_BYTES:
            return response(BodyTooLarge(settings.MAX_BODY_BYTES), request)
        return self.get_response(request)


def is_public(path: str) -> bool:
    """Whether a path is in PUBLIC_PATHS."""
    return any(
        path.startswith(public[:-1]) if public.endswith("*") else path == public for public in settings.PUBLIC_PATHS
    )


class Bearer(Middleware):
    """Who is calling. Sets `request.caller`, never `request.user`: the admin's cookie must not become a credential."""

    def __call__(self, request: Call) -> HttpResponse:
        """401 without a valid token on all but the public paths, 403 without a known role or tenant."""
        request.caller = None
        if is_public(request.path):
            return self.get_response(request)
        address = client_address(request)
        try:
            request.caller = self._caller(request, address)
        except InvalidToken as error:
            log.info("token refused", extra={"request": request, "why": str(error)})
            return self._refused(request, address)
        except Problem as problem:
            return response(problem, request)
        request.log_names["subject"] = pseudonym(request.caller.identity)
        return self.get_response(request)

    def _caller(self, request: Call, address: str | None) -> Actor:
        if not (token := bearer(request)):
            raise InvalidToken("no bearer token")
        caller = verify(token, Origin(Via.API, request.request_id, request.trace.id, address))
        identities = (caller.identity, caller.on_behalf_of)
        if any(cut_off.includes(identity, caller.tenant) for identity in identities if identity):
            raise InvalidToken("cut off")
        return caller

    def _refused(self, request: Call, address: str | None) -> HttpResponse:
        try:
            rate_limit.take_failure(address)
        except Problem as problem:
            return response(problem, request)
        return response(Unauthenticated(token_sent=bool(bearer(request))), request)


class RateLimit(Middleware):
    """How often a subject may call, and how many events its tenant may record."""

    def __call__(self, request: Call) -> HttpResponse:
        """429 where it called too often; what is left, else."""
        if request.caller is None:
            return self.get_response(request)
        try:
            told = rate_limit.take(request.caller)
            if _records(request):
                rate_limit.require_events(request.caller.tenant)
        except Problem as problem:
            return response(problem, request)
        answer = self.get_response(request)
        for name, value in told.items():
            # A quota that was exceeded comes after it: both headers are lists.
            answer[name] = f"{value}, {answer[name]}" if name in answer else value
        return answer


def _records(request: HttpRequest) -> bool:
    """Whether a call may record events. A heartbeat records none, and a lease must not be lost to a quota."""
    return request.method not in ("GET", "HEAD", "OPTIONS") and not request.path.endswith("/heartbeat")


class StrictJson(Middleware):
    """Parses each body once, strictly, into `request.json`. An empty one is `{}`."""

    def __call__(self, request: Call) -> HttpResponse:
        """415 for another media type, 400 for what is not JSON."""
        request.json = {}
        if is_public(request.path):
            return self.get_response(request)
        try:
            body = whole_body(request)
            if body:
                self._insist_on_json(request)
                request.json = parsing.parse(body)
        except Problem as problem:
            return response(problem, request)
        return self.get_response(request)

    def _insist_on_json(self, request: HttpRequest) -> None:
        if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            # RFC 9110, section 15.5.16: Accept-Encoding says that the coding is what was refused.
            raise UnsupportedMediaType(
                "Send the body without a Content-Encoding.", headers={"Accept-Encoding": "identity"}
            )
        allowed = _MERGE_PATCH if request.method == "PATCH" else _JSON
        charset = (request.content_params or {}).get("charset", "utf-8").strip('"').lower()
        if request.content_type not in allowed or charset not in ("utf-8", "utf8"):
            raise UnsupportedMediaType(f"Send {' or '.join(allowed)}, in UTF-8.")
