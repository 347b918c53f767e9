"""Whom we trust to sign: issuers with their keys."""

from dataclasses import dataclass
from functools import cache

from django.conf import settings
from jwt import PyJWK
from jwt.algorithms import OKPAlgorithm

from orchestrator import local_key


@dataclass(frozen=True)
class Issuer:
    """Somebody whose tokens are taken: name and audience are matched exactly, keys found by id.

    `tenants` are those it may assert; None is any. `fallback_tenant` stands where a token names none.
    """

    name: str
    audience: str
    keys: dict[str, PyJWK]
    tenants: frozenset[str] | None = None
    fallback_tenant: str | None = None

    def key(self, kid: str) -> PyJWK | None:
        """The key of that id, if it is known."""
        return self.keys.get(kid)


@cache
def issuers() -> dict[str, Issuer]:
    """The trusted issuers by name. Read once in a process: a new local key asks for a restart."""
    key = local_key.load_or_make(settings.LOCAL_KEY_FILE).public_key()
    kid = local_key.key_id(key)
    jwk = OKPAlgorithm.to_jwk(key, as_dict=True) | {"kid": kid, "use": "sig", "alg": "EdDSA"}
    local = Issuer(
        name=settings.LOCAL_ISSUER,
        audience=settings.LOCAL_AUDIENCE,
        keys={kid: PyJWK(jwk)},
        fallback_tenant="default",
    )
    return {local.name: local}
