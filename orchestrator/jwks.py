"""Whom we trust to sign: issuers, their keys, and the tenants each may speak for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.conf import settings
from jwt import PyJWK
from jwt.algorithms import OKPAlgorithm

from bearer_tokens.discovery import key_fetcher
from bearer_tokens.issuers import TrustedIssuer
from bearer_tokens.jwks_cache import KeyCache, KeysUnavailable
from orchestrator import local_key, names, person_rules
from orchestrator.person_rules import Condition, PersonRules
from orchestrator.problems import ServiceUnavailable

ANY_TENANT = "*"
LOCAL_RULES = PersonRules(signs=(Condition("kind", "equals", "person"),))
"""The local issuer says the kind itself, in a claim that is believed of no other."""


@dataclass(frozen=True)
class Issuer(TrustedIssuer):
    """A trusted issuer, the tenants it may assert, and by which rules its tokens are a person's.

    `fallback_tenant` stands where a token names none.
    """

    tenants: frozenset[str]
    fallback_tenant: str | None
    person_rules: PersonRules = person_rules.DEFAULT

    def may_assert(self, tenant: str) -> bool:
        """Whether it may speak for this tenant."""
        return ANY_TENANT in self.tenants or tenant in self.tenants


@cache
def issuers() -> Mapping[str, Issuer]:
    """The trusted issuers by name: those of the settings or, where there are none, the service itself.

    Read once in a process: another local key or issuer asks for a restart.
    """
    if not settings.OIDC_ISSUERS:
        return {settings.LOCAL_ISSUER: _local()}
    alone = len(settings.OIDC_ISSUERS) == 1
    return {str(given["issuer"]): _configured(given, alone=alone) for given in settings.OIDC_ISSUERS}


def _configured(given: Mapping[str, Any], *, alone: bool) -> Issuer:
    """One issuer of the settings. Where there are several, a token must name its tenant."""
    return Issuer(
        name=given["issuer"],
        audience=given["audience"],
        key=_available(KeyCache(key_fetcher(given["issuer"], given["jwks_url"]))),
        tenants=frozenset(map(names.normal, given["tenants"])),
        fallback_tenant="default" if alone else None,
        person_rules=person_rules.read(given.get("person_rules")),
    )


def _available(keys: KeyCache) -> Callable[[str], PyJWK | None]:
    """Return how to find a key. The function raises ServiceUnavailable where no key is known and none can be had."""

    def key(kid: str) -> PyJWK | None:
        try:
            return keys.key(kid)
        except KeysUnavailable as error:
            detail = "The identity provider cannot be reached."
            raise ServiceUnavailable(detail, retry_after=error.retry_after) from error

    return key


def _local() -> Issuer:
    key = local_key.load_or_make(settings.LOCAL_KEY_FILE).public_key()
    kid = local_key.key_id(key)
    jwk = PyJWK(OKPAlgorithm.to_jwk(key, as_dict=True) | {"kid": kid, "use": "sig", "alg": "EdDSA"})
    return Issuer(
        name=settings.LOCAL_ISSUER,
        audience=settings.LOCAL_AUDIENCE,
        key={kid: jwk}.get,
        tenants=frozenset({ANY_TENANT}),
        fallback_tenant="default",
        person_rules=LOCAL_RULES,
    )
