"""Typed readers of the environment. Each refuses what it cannot use; none echoes a secret."""

import json
import os
import re
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from django.core.exceptions import ImproperlyConfigured
from psycopg import IsolationLevel, ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from redis import ConnectionPool
from redis.exceptions import RedisError

from orchestrator import moments, person_rules
from orchestrator import names as spelling

_ON = {"1", "true", "yes", "on"}
_MOST_DIGITS = 18
_OFF = {"0", "false", "no", "off"}
LOCAL_ISSUER = "local"

# libpq's own defaults wait for minutes, or for ever, for a server that is gone without a word. These notice it within
# ten seconds, which is as long as a statement may run; on a unix socket they mean nothing. See docs/adr/0009.
_PATIENCE = {
    "connect_timeout": "3",
    "keepalives": "1",
    "keepalives_idle": "4",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


def text(name: str, default: str | None = None) -> str:
    """The variable as it stands, stripped. Without a default it must be set.

    Raises ImproperlyConfigured, as every reader here does.
    """
    value = os.environ.get(name, "").strip()
    if value:
        return value
    if default is None:
        raise ImproperlyConfigured(f"{name} must be set.")
    return default


def name(variable: str, default: str, longest: int) -> str:
    """Return a name of 1 to `longest` visible characters, in the form in which names are compared."""
    value = spelling.normal(text(variable, default))
    if len(value) > longest or not spelling.is_clear(value):
        raise ImproperlyConfigured(f"{variable} must be a name of 1 to {longest} visible characters.")
    return value


def origin(name: str, default: str) -> str:
    """Return the name of a transparency log: 1 to 200 visible ASCII characters without a scheme and without `+`."""
    value = text(name, default)
    if not re.fullmatch(r"[!-*,-~]{1,200}", value) or "://" in value:
        raise ImproperlyConfigured(f"{name} must be 1 to 200 ASCII characters without spaces, + and scheme.")
    return value


def choice(name: str, allowed: tuple[str, ...], default: str) -> str:
    """One of a few words."""
    value = text(name, default).lower()
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
    return value


def production() -> bool:
    """Whether ORCHESTRATOR_ENV says so."""
    return choice("ORCHESTRATOR_ENV", ("development", "production"), "development") == "production"


def flag(name: str, default: bool) -> bool:
    """true/false, 1/0, yes/no, on/off, in any case."""
    value = text(name, "on" if default else "off").lower()
    if value in _ON or value in _OFF:
        return value in _ON
    raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}.")


def whole(name: str, default: int, low: int, high: int) -> int:
    """A whole number from low to high."""
    value = text(name, str(default))
    if not (value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS and low <= int(value) <= high):
        raise ImproperlyConfigured(f"{name} must be a whole number from {low} to {high}, not {value!r}.")
    return int(value)


def seconds(name: str, default: int, low: int = 1, high: int = 31_536_000) -> int:
    """A duration in whole seconds."""
    return whole(name, default, low, high)


def names(name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    """A comma-separated list; blanks are dropped."""
    return tuple(part.strip() for part in text(name, ",".join(default)).split(",") if part.strip())


def acr_values(name: str) -> tuple[str, ...]:
    """Return a comma list of `acr` values, each of which a challenge can quote (RFC 9470, section 3)."""
    found = names(name)
    if not all(re.fullmatch(r"[!#-\[\]-~]+", value) for value in found):
        raise ImproperlyConfigured(f"{name} must be a comma list of ASCII words without quotes and backslashes.")
    return found


def url(name: str, default: str | None = None) -> str:
    """An http or https address with a host."""
    value = text(name, default)
    try:
        parts = urlsplit(value)
        known = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        known = False
    if not known:
        # Not echoed: an address may hold a password.
        raise ImproperlyConfigured(f"{name} must be an http or https address.")
    return value


def place(name: str, default: Path) -> Path:
    """A file or folder as an absolute path. It need not exist yet."""
    return Path(text(name, str(default))).expanduser().resolve()


def secret(name: str, fallback: Path | None = None) -> str:
    """A secret from NAME, from the file that NAME_FILE names, or from the fallback file if it is there."""
    value = os.environ.get(name, "").strip()
    named = os.environ.get(f"{name}_FILE", "").strip()
    if value and named:
        raise ImproperlyConfigured(f"{name} and {name}_FILE are both set; set one.")
    if value:
        return value
    path = Path(named) if named else fallback
    if path is None or (path == fallback and not path.is_file()):
        raise ImproperlyConfigured(f"{name} or {name}_FILE must be set.")
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{name}_FILE cannot be read: {type(error).__name__}.") from error
    if not value:
        raise ImproperlyConfigured(f"{name}_FILE is empty.")
    return value


def database(name: str, fallback: Path | None = None) -> dict[str, object]:
    """A postgresql:// address as Django's DATABASES entry. Read like a secret, since it may hold a password.

    What it says of patience is taken. Each transaction says that it is READ COMMITTED, whatever the default: under a
    snapshot of its own a claim would not see what a twin has committed meanwhile.
    """
    address = secret(name, fallback)
    try:
        parts = conninfo_to_dict(address)
    except ProgrammingError:
        parts = {}
    if not address.startswith(("postgresql://", "postgres://")) or not parts.get("dbname"):
        raise ImproperlyConfigured(f"{name} must be a postgresql:// address that names a database.")
    known = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    entry: dict[str, object] = {key: str(parts.pop(part, None) or "") for key, part in known.items()}
    options = {**_PATIENCE, **parts, "isolation_level": IsolationLevel.READ_COMMITTED}
    return {"ENGINE": "django.db.backends.postgresql", **entry, "OPTIONS": options}


def worker_database(name: str, fallback: Path) -> dict[str, object] | None:
    """The same as `database()`, or None where it is not set: then the worker's address is DATABASE_URL.

    The fallback file is of the database that `make run` makes, so it does not count where DATABASE_URL names another.
    """
    known = {variable for variable in (name, f"{name}_FILE") if os.environ.get(variable, "").strip()}
    elsewhere = any(os.environ.get(variable, "").strip() for variable in ("DATABASE_URL", "DATABASE_URL_FILE"))
    return database(name, fallback) if known or (not elsewhere and fallback.is_file()) else None


def optional_secret(name: str, fallback: Path | None = None) -> str:
    """A secret, from the fallback file if it is there, or "" where it is not set."""
    given = os.environ.get(name, "").strip() or os.environ.get(f"{name}_FILE", "").strip()
    return secret(name, fallback) if given or (fallback is not None and fallback.is_file()) else ""


def optional_secrets(name: str) -> list[str]:
    """Return secrets, one a line and blank lines dropped; none where it is not set."""
    return [line.strip() for line in optional_secret(name).splitlines() if line.strip()]


def moment(name: str) -> datetime | None:
    """Return a date and time with an offset, or None where it is not set."""
    value = text(name, "")
    found = moments.read(value) if value else None
    if value and found is None:
        raise ImproperlyConfigured(f"{name} must be a time with an offset, such as 2026-01-31T09:00:00Z.")
    return found


def redis_url(name: str) -> str:
    """A redis://, rediss:// or unix:// address, or "" where it is not set. Read like a secret.

    It may say which database and how TLS is done (`db`, `ssl_…`), and not how long anybody waits.
    """
    value = optional_secret(name)
    try:
        chosen = parse_qs(urlsplit(value).query)
        sound = all(option == "db" or option.startswith("ssl_") for option in chosen)
        if value:
            # Made, and not connected: whatever it would choke on, it does here.
            pool = ConnectionPool.from_url(value)
            pool.make_connection()
            sound = sound and bool(pool.connection_kwargs.get("host") or pool.connection_kwargs.get("path"))
    except (ValueError, TypeError, RedisError):
        sound = False
    if not sound:
        raise ImproperlyConfigured(
            f"{name} must be a redis://, rediss:// or unix:// address, without options of its own."
        )
    return value


def rate(name: str, default: str) -> tuple[int, int] | None:
    """So many calls in so many seconds, as "600/60", or None for "off"."""
    value = text(name, default).lower()
    if value in _OFF:
        return None
    calls, slash, per = value.partition("/")
    if not (slash and calls.isdigit() and per.isdigit() and int(calls) > 0 and int(per) > 0):
        raise ImproperlyConfigured(f"{name} must be <calls>/<seconds> or off, not {value!r}.")
    return int(calls), int(per)


def networks(name: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """A comma list of addresses and networks such as 10.0.0.0/8."""
    try:
        return tuple(ip_network(part) for part in names(name))
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}.") from error


def issuers() -> tuple[dict[str, object], ...]:
    """The identity providers: one by OIDC_ISSUER_URL and its companions, or several as JSON in OIDC_ISSUERS.

    Each has `issuer`, `audience`, `jwks_url` ("" for the discovery's), `tenants`, those it may assert, and perhaps
    `person_rules`.
    """
    rules = text("OIDC_PERSON_RULES", "")
    several = os.environ.get("OIDC_ISSUERS") or os.environ.get("OIDC_ISSUERS_FILE")
    if several:
        if rules:
            raise ImproperlyConfigured("OIDC_PERSON_RULES is for a single issuer: set person_rules in OIDC_ISSUERS.")
        found = tuple(_issuer(entry) for entry in _json_list("OIDC_ISSUERS"))
        if len({entry["issuer"] for entry in found}) < len(found):
            raise ImproperlyConfigured("OIDC_ISSUERS names an issuer twice.")
        return found
    if not os.environ.get("OIDC_ISSUER_URL", "").strip():
        if rules:
            raise ImproperlyConfigured("OIDC_PERSON_RULES is for OIDC_ISSUER_URL, which is not set.")
        return ()
    return (
        {
            "issuer": url("OIDC_ISSUER_URL"),
            "audience": text("OIDC_AUDIENCE"),
            "jwks_url": url("OIDC_JWKS_URL") if os.environ.get("OIDC_JWKS_URL") else "",
            "tenants": names("OIDC_TENANTS", ("default",)),
            **({"person_rules": _person_rules(rules)} if rules else {}),
        },
    )


def _person_rules(rules: str) -> object:
    try:
        found: object = json.loads(rules)
        person_rules.read(found if found is not None else "null")
    except (ValueError, RecursionError) as error:
        raise ImproperlyConfigured(f"OIDC_PERSON_RULES cannot be used: {error}.") from error
    return found


def _json_list(name: str) -> list[object]:
    try:
        found = json.loads(secret(name))
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be JSON.") from error
    if not isinstance(found, list) or not found:
        raise ImproperlyConfigured(f"{name} must be a list of at least one issuer.")
    return found


def _issuer(entry: object) -> dict[str, object]:
    given: dict[str, object] = dict(entry) if isinstance(entry, dict) else {}
    tenants = given.get("tenants")
    named = isinstance(tenants, list) and bool(tenants) and all(isinstance(tenant, str) for tenant in tenants)
    texts = all(isinstance(given.get(name), str) and given[name] for name in ("issuer", "audience"))
    if not (named and texts and isinstance(given.setdefault("jwks_url", ""), str)):
        raise ImproperlyConfigured(
            "OIDC_ISSUERS: each issuer needs issuer, audience and tenants (a list of names), and may have jwks_url."
        )
    if given["issuer"] == LOCAL_ISSUER:
        raise ImproperlyConfigured(f"OIDC_ISSUERS: {LOCAL_ISSUER} is the service's own name as an issuer.")
    try:
        person_rules.read(given.get("person_rules"))
    except ValueError as error:
        raise ImproperlyConfigured(f"OIDC_ISSUERS: the person_rules of an issuer cannot be used: {error}.") from error
    return given
