"""What `manage.py check --deploy` finds, and what production refuses to start with. Each has an id and a hint."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error

_SHORTEST_SECRET = 32


def production_is_safe(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """In production these are errors, so that no command and no worker starts; elsewhere they are nothing."""
    return list(findings()) if settings.ORCHESTRATOR_ENV == "production" else []


def findings() -> Iterator[CheckMessage]:
    """What the settings as they are would mean in production."""
    yield from _identity()
    if settings.DEBUG:
        yield Error(
            "DEBUG is on.", hint="It shows settings and source to callers. Turn it off.", id="orchestrator.E003"
        )
    if len(settings.SECRET_KEY) < _SHORTEST_SECRET or len(set(settings.SECRET_KEY)) < 8:
        hint = "Set SECRET_KEY or SECRET_KEY_FILE to at least 32 random characters."
        yield Error("SECRET_KEY is missing, short or a default.", hint=hint, id="orchestrator.E004")
    if not settings.ALLOWED_HOSTS or any("*" in host for host in settings.ALLOWED_HOSTS):
        hint = "Set ALLOWED_HOSTS to the names the service is called by."
        yield Error("ALLOWED_HOSTS takes any host.", hint=hint, id="orchestrator.E005")


def _identity() -> Iterator[CheckMessage]:
    if not settings.OIDC_ISSUERS:
        hint = "Set OIDC_ISSUER_URL and OIDC_AUDIENCE, or OIDC_ISSUERS."
        yield Error("Tokens signed with the service's own key are trusted.", hint=hint, id="orchestrator.E001")
    for given in settings.OIDC_ISSUERS:
        for address in filter(None, (given["issuer"], given["jwks_url"])):
            if urlsplit(str(address)).scheme != "https":
                hint = "Keys that come over plain http can be exchanged on the way. Use https."
                yield Error(f"{address} is not https.", hint=hint, id="orchestrator.E002")
