"""manage.py issue_token: a bearer token signed with the service's own key."""

import time
import uuid
from argparse import ArgumentParser
from typing import Any

import jwt
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from orchestrator import local_key
from orchestrator.actors import Kind, Role


class Command(BaseCommand):
    """Prints the token as its last line."""

    help = "Print a bearer token signed with the service's own key."
    requires_system_checks: list[str] = []  # noqa: RUF012

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Who, as what, for how long."""
        parser.add_argument("--subject", required=True, help="who it is for, e.g. alice")
        parser.add_argument("--roles", default="agent", help=f"comma list of {', '.join(Role.values)}")
        parser.add_argument("--agent-roles", default="", help="comma list of the roles it may act as, e.g. finance")
        parser.add_argument("--tenant", default="default")
        parser.add_argument("--ttl", type=int, default=3600, help="seconds it is valid for")
        parser.add_argument("--act-subject", help="an agent that acts for the subject")
        parser.add_argument("--service-account", action="store_true", help="for a service rather than a person")
        parser.add_argument("--client", default=settings.LOCAL_CLIENT, help="the client that it is issued to")
        parser.add_argument("--acr", default="", help="the level of the login, for APPROVAL_ACR_VALUES")

    def handle(self, *args: Any, **options: Any) -> str:
        """Sign it."""
        if settings.ORCHESTRATOR_ENV == "production":
            raise CommandError("Production trusts identity providers alone: such a token would be refused.")
        if options["ttl"] < 1:
            raise CommandError("--ttl must be at least one second.")
        if not options["subject"].strip():
            raise CommandError("--subject must not be blank.")
        key = local_key.load_or_make(settings.LOCAL_KEY_FILE)
        headers = {"kid": local_key.key_id(key.public_key()), "typ": "at+jwt"}
        return jwt.encode(_claims(options), key, algorithm="EdDSA", headers=headers)


def _claims(options: dict[str, Any]) -> dict[str, Any]:
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": settings.LOCAL_ISSUER,
        "aud": settings.LOCAL_AUDIENCE,
        "sub": options["subject"],
        "iat": now,
        "exp": now + options["ttl"],
        "jti": str(uuid.uuid4()),
        "kind": str(Kind.SERVICE_ACCOUNT if options["service_account"] else Kind.PERSON),
        "azp": options["client"],
        "auth_time": now,
    }
    _put(claims, settings.OIDC_ROLES_CLAIM, _words(options["roles"]))
    _put(claims, settings.OIDC_AGENT_ROLES_CLAIM, _words(options["agent_roles"]))
    _put(claims, settings.OIDC_TENANT_CLAIM, options["tenant"])
    if options["act_subject"]:
        claims["act"] = {"sub": options["act_subject"]}
    if options["service_account"]:
        claims["client_id"] = options["subject"]
    if options["acr"]:
        claims["acr"] = options["acr"]
    return claims


def _put(claims: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for name in parents:
        claims = claims.setdefault(name, {})
    claims[last] = value


def _words(listed: str) -> list[str]:
    return [word.strip() for word in listed.split(",") if word.strip()]
