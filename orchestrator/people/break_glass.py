"""The login by password, for when the identity provider is away: behind ADMIN_PASSWORD_LOGIN, with a lock-out."""

import logging
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse
from unfold.forms import AuthenticationForm

from orchestrator import rate_limit
from orchestrator.addresses import client_address
from orchestrator.problem_responses import response
from orchestrator.problems import TooManyRequests

_LONGEST_NAME = 255
"""What the table of failed logins takes."""

log = logging.getLogger(__name__)


class PasswordForm(AuthenticationForm):  # type: ignore[misc]  # unfold has no types
    """User name and password."""

    def clean_username(self) -> str:
        """One that can be counted."""
        name: str = self.cleaned_data["username"]
        if len(name) > _LONGEST_NAME:
            raise forms.ValidationError(f"A user name has at most {_LONGEST_NAME} characters.")
        return name

    def clean(self) -> dict[str, Any]:
        """Return who they are. Raise TooManyRequests where there were too many attempts from the address.

        Each attempt counts, whatever the name, and before the password is checked: a failure leaves a row, so the rows
        of an address are bounded.
        """
        rate_limit.take_failure(client_address(self.request))
        cleaned: dict[str, Any] = super().clean()
        return cleaned

    def confirm_login_allowed(self, user: AbstractBaseUser) -> None:
        """Staff alone. Such a login is to be seen: it goes past the identity provider."""
        super().confirm_login_allowed(user)
        log.warning(
            "login by password",
            extra={"request": self.request, "username": user.get_username(), "ip": client_address(self.request)},
        )


def locked_out(request: HttpRequest, original: HttpResponse, credentials: object) -> HttpResponse:
    """What django-axes answers instead of the form after too many failures."""
    minutes = round(settings.AXES_COOLOFF_TIME.total_seconds() / 60)
    refusal = TooManyRequests(minutes * 60, {})
    refusal.detail = (
        f"Too many failed logins with this name from your address. It is locked for {minutes} minutes after the last."
    )
    return response(refusal, request)
