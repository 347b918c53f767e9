"""Logins that a browser has begun at the identity provider, kept in a signed cookie of that browser.

So a stranger who begins logins writes no row. The cookie has the state, nonce and PKCE verifier of each login. They are
of use to that browser alone. The provider accepts a code once, and its answer takes the state out of the cookie.
"""

from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.http import HttpRequest
from django.http.response import HttpResponseBase

LOGIN_SECONDS = 600
"""How long somebody may take at the provider."""

MAX_COOKIE_BYTES = 3_500
"""Browsers ignore cookies of more than 4,096 bytes, attributes included (RFC 6265, section 6.1)."""

_NEXT = "oidc_login_next"
_KEPT = ("oidc_states", _NEXT, "oidc_refused")


class PendingLogins(SessionStore):
    """What mozilla-django-oidc uses as the session while a login is under way. Its key is its content, signed."""

    def get_session_cookie_age(self) -> int:
        """Return how old the signature may be, in seconds. Each login has a time of its own besides."""
        return LOGIN_SECONDS

    def kept(self) -> dict[str, Any]:
        """Return what goes into the cookie: never a token of the provider."""
        return {name: self[name] for name in _KEPT if self.get(name)}


def of_browser(request: HttpRequest) -> PendingLogins:
    """Return the logins that the browser has begun; none where its cookie is missing, altered or too old."""
    return PendingLogins(request.COOKIES.get(settings.LOGIN_COOKIE_NAME))


def keep(kept: dict[str, Any], request: HttpRequest, answer: HttpResponseBase) -> None:
    """Set the cookie, or delete it where no login is pending."""
    if kept:
        answer.set_cookie(
            settings.LOGIN_COOKIE_NAME,
            _signed(kept),
            max_age=LOGIN_SECONDS,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )
    elif settings.LOGIN_COOKIE_NAME in request.COOKIES:
        answer.delete_cookie(settings.LOGIN_COOKIE_NAME, samesite="Lax")


def _signed(kept: dict[str, Any]) -> str:
    """Return the signed content, without the page to lead back to where that page's address is too long."""
    signed = PendingLogins()
    signed.update(kept)
    signed.save()
    value = str(signed.session_key)
    if len(value) <= MAX_COOKIE_BYTES or _NEXT not in kept:
        return value
    return _signed({name: content for name, content in kept.items() if name != _NEXT})
