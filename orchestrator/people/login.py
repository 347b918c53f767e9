"""Logging in to the admin at the identity provider: code flow with PKCE (OpenID Connect Core, section 3.1).

mozilla-django-oidc walks the steps. What it leaves open is decided here: the ID token is checked in full, nobody is
found by e-mail, nothing is asked of the network but one exchange with a time limit, and a refusal is a page. Until
somebody is in, their login is kept in their browser alone.
"""

import logging
import time
from collections.abc import Mapping
from copy import deepcopy
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import auth
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.generic import View
from mozilla_django_oidc.auth import OIDCAuthenticationBackend
from mozilla_django_oidc.views import OIDCAuthenticationCallbackView, OIDCAuthenticationRequestView

from bearer_tokens.subjects import InvalidToken, text_or_empty
from orchestrator import rate_limit
from orchestrator.addresses import client_address
from orchestrator.admin.acting import as_actor
from orchestrator.claims import moment
from orchestrator.people import id_token, logins, pending_logins
from orchestrator.people.arriving import arrive
from orchestrator.people.models import Person
from orchestrator.people.provider import is_offered, issuer, provider
from orchestrator.problem_responses import response
from orchestrator.problems import BadRequest, Forbidden, MethodNotAllowed, NotFound, Problem, ServiceUnavailable

_HOW = "oidc_authentication"
_AWAY = ("temporarily_unavailable", "server_error")

log = logging.getLogger(__name__)


class OidcLogin(OIDCAuthenticationBackend):  # type: ignore[misc]  # the package has no types
    """Makes a person of an authorization code. Django builds one of these at every request: it costs nothing."""

    def __init__(self) -> None:
        self.OIDC_RP_CLIENT_ID = settings.OIDC_RP_CLIENT_ID
        self.OIDC_RP_CLIENT_SECRET = settings.OIDC_RP_CLIENT_SECRET

    def authenticate(self, request: HttpRequest, *, nonce: str, code_verifier: str) -> Person:
        """Who logged in. Raises a problem where nobody did; never hands on to another backend."""
        try:
            person: Person = super().authenticate(request, nonce=nonce, code_verifier=code_verifier)
        except InvalidToken as error:
            log.warning("ID token refused", extra={"request": request, "why": str(error)})
            raise Forbidden("What the identity provider answered could not be verified. The log says why.") from error
        return person

    def get_token(self, payload: dict[str, str]) -> dict[str, Any]:
        """The tokens for a code. Raises Forbidden if it is refused, ServiceUnavailable if the provider is away."""
        client = {name: payload.pop(name) for name in ("client_id", "client_secret")}
        try:
            return provider().exchange(payload, **client)
        except HTTPError as error:
            log.warning("code refused", extra={"request": self.request, "status": error.code})
            if error.code >= 500:
                raise ServiceUnavailable("The identity provider cannot answer.", retry_after=5) from error
            raise Forbidden("The identity provider did not accept this login. Log in again.") from error
        except (OSError, HTTPException, ValueError) as error:
            log.warning("code not exchanged", extra={"request": self.request, "why": type(error).__name__})
            raise ServiceUnavailable("The identity provider cannot be reached.", retry_after=5) from error

    def verify_token(self, token: object, *, nonce: str) -> Mapping[str, Any]:
        """The claims of the ID token. Raises InvalidToken."""
        return id_token.verified(token, issuer=issuer(), client_id=self.OIDC_RP_CLIENT_ID, nonce=nonce)

    def get_or_create_user(self, access_token: object, id_token: str, payload: Mapping[str, Any]) -> Person:
        """Return the person's row, and keep how they logged in until the login is complete."""
        how = logins.Authentication(text_or_empty(payload, "acr"), moment(payload, "auth_time"))
        self.request.session[_HOW] = logins.stored(how)
        return arrive(payload, access_token, issuer(), lambda person: as_actor(person, self.request))

    def get_user(self, user_id: int) -> Person | None:
        """Who is logged in, unless they were cut off since."""
        return Person.objects.filter(pk=user_id, is_active=True).first()


class _Page(View):
    """A step of the login. It exists where a provider is configured."""

    login: SessionBase
    """The browser's login to the admin, if it has one. `request.session` are the logins that it has begun."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Take the step with the logins that the browser has begun. Raises NotFound where no provider is configured."""
        if not is_offered():
            raise NotFound
        self.login, begun = request.session, pending_logins.of_browser(request)
        before, request.session = deepcopy(begun.kept()), begun
        try:
            answer = super().dispatch(request, *args, **kwargs)
        except Problem as problem:
            # Answered here, so that the cookie goes along with a refusal too.
            answer = response(problem, request)
        finally:
            # The library exchanges the object for another of its kind.
            begun, request.session = request.session, self.login
        if begun.kept() != before:
            pending_logins.keep(begun.kept(), request, answer)
        return answer

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """In our shape."""
        return response(MethodNotAllowed(), request)


class Begin(_Page, OIDCAuthenticationRequestView):  # type: ignore[misc]  # the package has no types
    """GET /oidc/authenticate/: off to the provider, with state, nonce and code challenge."""

    def __init__(self, **kwargs: Any) -> None:
        View.__init__(self, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        """`next` says where to afterwards: a path of this host. Raises ServiceUnavailable without a provider."""
        self.OIDC_RP_CLIENT_ID = settings.OIDC_RP_CLIENT_ID
        self.OIDC_OP_AUTH_ENDPOINT = provider().authorization
        answer: HttpResponse = super().get(request)
        return answer

    def get_extra_params(self, request: HttpRequest) -> dict[str, str]:
        """Ask for the login that a decision needs, and for a new one after a refusal or where the person wants it.

        Without `prompt` the provider would answer for the same person again (OpenID Connect Core, section 3.1.2.1).
        """
        extra: dict[str, str] = {}
        if request.session.pop("oidc_refused", False) or "again" in request.GET:
            extra["prompt"] = "login"
        if settings.APPROVAL_ACR_VALUES:
            extra["acr_values"] = " ".join(settings.APPROVAL_ACR_VALUES)
        if settings.APPROVAL_MAX_AUTH_AGE_SECONDS:
            extra["max_age"] = str(settings.APPROVAL_MAX_AUTH_AGE_SECONDS)
        return extra


class Callback(_Page, OIDCAuthenticationCallbackView):  # type: ignore[misc]  # the package has no types
    """GET /oidc/callback/: back from the provider."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """To where they wanted to go. Raises a problem where the login failed."""
        begun = request.session.get("oidc_states", {}).get(request.GET.get("state"))
        if begun is None or time.time() - begun["added_on"] > pending_logins.LOGIN_SECONDS:
            rate_limit.take_failure(client_address(request))
            raise BadRequest("This login did not begin in this browser, or took too long. Begin again.")
        if error := request.GET.get("error"):
            self._give_up(request, error)
        try:
            answer: HttpResponse = super().get(request)
        except (Forbidden, BadRequest):
            rate_limit.take_failure(client_address(request))
            request.session["oidc_refused"] = True
            raise
        return answer

    def login_success(self) -> HttpResponse:
        """Begin the login to the admin, with what the provider said of it. One as somebody else ends."""
        begun, to = self.request.session, self.success_url
        begun.pop("oidc_login_next", None)
        self.request.session = self.login
        auth.login(self.request, self.user)
        logins.begin(self.request, logins.restored(begun.pop(_HOW, {})))
        self.login["oidc_id_token"] = begun.pop("oidc_id_token", None)
        self.request.session = begun
        return HttpResponseRedirect(to)

    def login_failure(self) -> HttpResponse:
        """Neither a code nor an error."""
        raise BadRequest("The identity provider sent no code.")

    def _give_up(self, request: HttpRequest, error: str) -> None:
        """The provider says no (RFC 6749, section 4.1.2.1). Somebody who is logged in stays so."""
        del request.session["oidc_states"][request.GET["state"]]
        log.info("the provider refused a login", extra={"request": request, "why": error[:64]})
        if error in _AWAY:
            raise ServiceUnavailable("The identity provider cannot answer.", retry_after=5)
        raise Forbidden("The identity provider did not let you in. Begin again, perhaps as somebody else.")


class Logout(View):
    """POST /oidc/logout/ and /admin/logout/: out here and, where the login came from there, at the provider."""

    http_method_names = ("post",)
    http_method_not_allowed = _Page.http_method_not_allowed

    def post(self, request: HttpRequest) -> HttpResponse:
        """A page that leads on: policies for forms would not let a form's answer redirect to another host."""
        onward = self._provider_logout(request)
        auth.logout(request)
        if onward is None:
            return HttpResponseRedirect(reverse("admin:login"))
        return render(request, "orchestrator/onward.html", {"to": onward})

    def _provider_logout(self, request: HttpRequest) -> str | None:
        """OpenID Connect RP-Initiated Logout, section 2. None where there is nothing to log out of."""
        token = request.session.get("oidc_id_token")
        if token is None or not is_offered():
            return None
        try:
            end = provider().end_session
        except ServiceUnavailable:
            return None
        asked = {
            "id_token_hint": token,
            "client_id": settings.OIDC_RP_CLIENT_ID,
            "post_logout_redirect_uri": request.build_absolute_uri(reverse("admin:login")),
        }
        return f"{end}?{urlencode(asked)}" if end else None
