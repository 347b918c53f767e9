"""The admin's login page: the ways in that are configured, and no others; and where a password is changed."""

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from unfold.forms import AdminOwnPasswordChangeForm

from orchestrator.people import logins
from orchestrator.people.break_glass import PasswordForm
from orchestrator.people.provider import is_offered
from orchestrator.problems import Forbidden


class LoginPage:
    """What the site shows to those who are not logged in, or change by what they do."""

    login_template = "orchestrator/login.html"
    login_form = PasswordForm
    password_change_view: type[PasswordChangeView] = PasswordChangeView

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """A button to the provider, a form for a password. Raises Forbidden for a password where none is taken."""
        if request.method == "POST" and not settings.ADMIN_PASSWORD_LOGIN:
            raise Forbidden("Passwords are not taken here. Log in at the identity provider.")
        begin, wanted = reverse("oidc_authentication_init"), request.GET.get(REDIRECT_FIELD_NAME)
        ways = {
            "provider_offered": is_offered(),
            "password_offered": settings.ADMIN_PASSWORD_LOGIN,
            "begin": f"{begin}?{urlencode({REDIRECT_FIELD_NAME: wanted})}" if wanted else begin,
        }
        answer: HttpResponse = super().login(request, {**ways, **(extra_context or {})})  # type: ignore[misc]
        if request.method == "POST" and isinstance(answer, HttpResponseRedirect):
            # A password names no level of login, so it satisfies no APPROVAL_ACR_VALUES.
            logins.begin(request, logins.Authentication(at=timezone.now()))
        return answer

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """The theme's page, by the view that is set."""
        view = self.password_change_view.as_view(
            form_class=AdminOwnPasswordChangeForm,
            success_url=reverse("admin:password_change_done"),
            extra_context={**self.each_context(request), **(extra_context or {})},  # type: ignore[attr-defined]
        )
        return view(request)


def login_again(request: HttpRequest, back: str) -> str | None:
    """Return where the person logs in again at the provider, to come back to a page; None if that is not their way."""
    if not is_offered() or "oidc_id_token" not in request.session:
        return None
    return f"{reverse('oidc_authentication_init')}?{urlencode({REDIRECT_FIELD_NAME: back, 'again': '1'})}"
