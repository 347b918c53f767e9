"""What `manage.py check --deploy` finds, and what production refuses to start with. Each has an id and a hint."""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error

from orchestrator.actors import Role

_SHORTEST_SECRET = 32
KNOWN_SECRETS = frozenset(
    {
        "goose-controller-dev-secret",
        "without-audience-dev-secret",
        "dev-agent-password",
        "dev-approver-password",
        "dev-operator-password",
    }
)
"""The secrets of the development realm (docker/keycloak/realm-dev.json), which everybody can read."""
_ENCRYPTED = ("require", "verify-ca", "verify-full")


def production_is_safe(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """In production these are errors, so that no command and no worker starts; elsewhere they are nothing."""
    return list(findings()) if settings.ORCHESTRATOR_ENV == "production" else []


def login_is_whole(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Settings of the admin's login that do not go together, anywhere."""
    found: list[CheckMessage] = []
    if settings.OIDC_RP_CLIENT_ID and not settings.OIDC_ISSUERS:
        hint = "Set OIDC_ISSUER_URL and OIDC_AUDIENCE, or unset OIDC_RP_CLIENT_ID."
        found.append(Error("OIDC_RP_CLIENT_ID is a client of no issuer.", hint=hint, id="orchestrator.E006"))
    if unknown := sorted({*settings.OIDC_STAFF_ROLES} - {*Role.values}):
        message = f"OIDC_STAFF_ROLES names what is no role: {', '.join(unknown)}."
        found.append(Error(message, hint=f"Name some of {', '.join(Role.values)}.", id="orchestrator.E007"))
    return found


def findings() -> Iterator[CheckMessage]:
    """What the settings as they are would mean in production."""
    yield from _identity()
    yield from _known_secrets()
    if settings.ADMIN_PASSWORD_LOGIN:
        hint = "It is for when the identity provider is away. Set ADMIN_PASSWORD_LOGIN=off afterwards."
        yield checks.Warning("People can log in to the admin by password.", hint=hint, id="orchestrator.W001")
    yield from _in_the_clear()
    if settings.DEBUG:
        yield Error(
            "DEBUG is on.", hint="It shows settings and source to callers. Turn it off.", id="orchestrator.E003"
        )
    if len(settings.SECRET_KEY) < _SHORTEST_SECRET or len(set(settings.SECRET_KEY)) < 8:
        hint = "Set SECRET_KEY or SECRET_KEY_FILE to at least 32 random characters."
        yield Error("SECRET_KEY is missing, short or a default.", hint=hint, id="orchestrator.E004")
    if settings.METRICS_TOKEN and len(settings.METRICS_TOKEN) < _SHORTEST_SECRET:
        hint = "Set METRICS_TOKEN or METRICS_TOKEN_FILE to at least 32 random characters."
        yield Error("METRICS_TOKEN is short.", hint=hint, id="orchestrator.E008")
    if not settings.ALLOWED_HOSTS or any("*" in host for host in settings.ALLOWED_HOSTS):
        hint = "Set ALLOWED_HOSTS to the names the service is called by."
        yield Error("ALLOWED_HOSTS takes any host.", hint=hint, id="orchestrator.E005")


def _known_secrets() -> Iterator[CheckMessage]:
    """Secrets that everybody can read, since they are the development realm's."""
    secrets = {
        "OIDC_RP_CLIENT_SECRET": settings.OIDC_RP_CLIENT_SECRET,
        "DATABASE_URL": settings.DATABASES["default"]["PASSWORD"],
        "REDIS_URL": unquote(urlsplit(settings.REDIS_URL).password or ""),
        "SECRET_KEY": settings.SECRET_KEY,
        "METRICS_TOKEN": settings.METRICS_TOKEN,
    }
    for name in (name for name, secret in secrets.items() if secret in KNOWN_SECRETS):
        hint = f"Set {name} or {name}_FILE to a secret of your own, and change it at the other side."
        yield Error(f"{name} has a secret of the development realm.", hint=hint, id="orchestrator.E009")


def _in_the_clear() -> Iterator[CheckMessage]:
    """What goes over a network to others unencrypted. A warning: the network may be one that nobody else is on."""
    database: dict[str, Any] = dict(settings.DATABASES["default"])
    hosts = [host for host in database["HOST"].split(",") if not host.startswith(("/", "@"))]
    if database["OPTIONS"].get("sslmode") not in _ENCRYPTED and any(map(_is_elsewhere, hosts)):
        hint = "Add sslmode=verify-full to DATABASE_URL, unless nobody else is on that network."
        yield checks.Warning("The database is spoken to unencrypted.", hint=hint, id="orchestrator.W002")
    redis = urlsplit(settings.REDIS_URL)
    if redis.scheme == "redis" and _is_elsewhere(redis.hostname or ""):
        hint = "Use rediss://, unless nobody else is on that network."
        yield checks.Warning("Redis is spoken to unencrypted.", hint=hint, id="orchestrator.W003")


def _is_elsewhere(host: str) -> bool:
    """Whether a host is another than this one."""
    if host in ("", "localhost"):
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return True


def _identity() -> Iterator[CheckMessage]:
    if not settings.OIDC_ISSUERS:
        hint = "Set OIDC_ISSUER_URL and OIDC_AUDIENCE, or OIDC_ISSUERS."
        yield Error("Tokens signed with the service's own key are trusted.", hint=hint, id="orchestrator.E001")
    for given in settings.OIDC_ISSUERS:
        for address in filter(None, (given["issuer"], given["jwks_url"])):
            if urlsplit(str(address)).scheme != "https":
                hint = "Keys that come over plain http can be exchanged on the way. Use https."
                yield Error(f"{address} is not https.", hint=hint, id="orchestrator.E002")
