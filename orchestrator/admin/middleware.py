"""What runs below ADMIN_PATHS alone: Django's session, CSRF check, login and messages, and pages for refusals.

On every other path these hand the request on untouched: no cookie is read there, so none can be a way into the API.
"""

import json
from collections.abc import Callable
from typing import Any, cast

from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from django.template.loader import render_to_string
from django.utils.deprecation import MiddlewareMixin

from orchestrator.actors import Identity
from orchestrator.middleware import Call, Middleware
from orchestrator.people import logins
from orchestrator.people.models import Person
from orchestrator.problem_responses import CONTENT_TYPE, as_problem, response
from orchestrator.problems import Forbidden
from orchestrator.pseudonyms import pseudonym

POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The theme evaluates the expressions in its attributes (Alpine) and styles elements in place; nothing comes from
elsewhere, and no script stands in a page."""


def is_admin(request: HttpRequest) -> bool:
    """Whether a request is for the admin or its login."""
    return request.path.startswith(settings.ADMIN_PATHS)


class Pages(Middleware):
    """In the admin a refusal is a page for people, of the same words, and the theme gets the policy it needs."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Turn a problem document into a page, whoever made it."""
        answer = self.get_response(request)
        if not is_admin(request):
            return answer
        if answer.get("Content-Type") == CONTENT_TYPE:
            answer.content = render_to_string("orchestrator/refusal.html", {"problem": json.loads(answer.content)})
            answer["Content-Type"] = "text/html; charset=utf-8"
        answer.headers.setdefault("Content-Security-Policy", POLICY)
        # With no-referrer, browsers send `Origin: null` along with a form, and the CSRF check refuses that.
        answer.headers.setdefault("Referrer-Policy", "same-origin")
        return answer

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """What a view of the admin raised. An unknown exception is no problem: it stays a 500 and is seen."""
        problem = as_problem(exception) if is_admin(request) else None
        return None if problem is None else response(problem, request)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The answer to a form that did not come from a page of ours. Django logs the reason."""
    return response(Forbidden("That form is too old or came from elsewhere. Load the page again and repeat."), request)


class BelowAdmin(MiddlewareMixin):
    """Applies the middleware that it is mixed into to the admin only."""

    def __call__(self, request: HttpRequest) -> Any:
        """Hand on what is for somebody else."""
        return super().__call__(request) if is_admin(request) else self.get_response(request)


class Sessions(BelowAdmin, SessionMiddleware):
    """Who is logged in, by a cookie."""


class Csrf(BelowAdmin, CsrfViewMiddleware):
    """Every POST comes from a form of ours."""

    def process_view(
        self,
        request: HttpRequest,
        callback: Callable[..., HttpResponseBase],
        callback_args: tuple[Any, ...],
        callback_kwargs: dict[str, Any],
    ) -> HttpResponseForbidden | None:
        """Django calls this hook by itself, whatever the path."""
        return super().process_view(request, callback, callback_args, callback_kwargs) if is_admin(request) else None


class Authentication(BelowAdmin, AuthenticationMiddleware):
    """`request.user`."""

    def process_response(self, request: HttpRequest, answer: HttpResponse) -> HttpResponse:
        """The log names whoever was looked up; nobody is looked up for it."""
        somebody = getattr(request, "_cached_user", None)
        if isinstance(somebody, Person):
            cast(Call, request).log_names["subject"] = pseudonym(Identity(somebody.issuer, somebody.subject))
        return answer


class Idle(Middleware):
    """A login that nobody uses any more ends."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Whoever comes with it then has to log in again."""
        if is_admin(request):
            try:
                logins.look_after(request)
            except (DatabaseError, InterfaceError) as error:
                problem = as_problem(error)
                if problem is None:
                    raise
                return response(problem, request)
        return self.get_response(request)


class Messages(BelowAdmin, MessageMiddleware):
    """What the next page tells."""
