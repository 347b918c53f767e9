"""An issuer on loopback that serves its keys, and what it signs with them."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.test import override_settings
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from orchestrator import jwks
from tests.listening import listening
from tests.orchestrator.tokens import GONE

AUDIENCE = "orchestrator-api"
CLIENT = "orchestrator-web"
"""The client by which people decide, where a test sets OIDC_DECIDING_CLIENTS to it."""
_JWKS: dict[str, Any] = {"RS256": RSAAlgorithm, "PS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}


@cache
def private_key(algorithm: str) -> Any:
    """One for each kind of key: making them is slow."""
    if algorithm == "PS256":
        return private_key("RS256")
    if algorithm == "RS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else Ed25519PrivateKey.generate()


def jwk(kid: str, algorithm: str = "EdDSA", **changes: Any) -> dict[str, Any]:
    """The public part of that key as an issuer shows it."""
    said = _JWKS[algorithm].to_jwk(private_key(algorithm).public_key(), as_dict=True)
    whole = {**said, "kid": kid, "use": "sig", "alg": algorithm, **changes}
    return {name: value for name, value in whole.items() if value is not GONE}


def key_set(*kids: str) -> dict[str, Any]:
    """A key set of these ids."""
    return {"keys": [jwk(kid) for kid in kids]}


@dataclass
class KeyServer:
    """What it answers, by path, can be changed by the test."""

    address: str
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    silent: bool = False
    """Takes requests and answers none."""
    drip: float = 0
    """How many seconds it waits before each byte of a body."""
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def jwks_url(self) -> str:
        return f"{self.address}/keys"

    def says(self, path: str, document: Any, status: int = 200, **headers: str) -> None:
        """Answer so from now on: bytes as they are, anything else as JSON."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.answers[path] = status, headers, body

    def shows(self, *keys: dict[str, Any]) -> None:
        """Serve these keys, and the discovery document that leads to them."""
        self.says("/keys", {"keys": keys})
        self.says("/.well-known/openid-configuration", {"issuer": self.address, "jwks_uri": self.jwks_url})

    def issuer(self, *tenants: str, **changes: Any) -> dict[str, Any]:
        """Its entry in OIDC_ISSUERS."""
        entry = {"issuer": self.address, "audience": AUDIENCE, "jwks_url": self.jwks_url}
        return {**entry, "tenants": tenants or ("default",), **changes}

    def token(self, algorithm: str = "EdDSA", kid: str = "key-1", key: Any = None, **claims: Any) -> str:
        """An access token that it signed: an agent of the role finance, unless claims say otherwise."""
        now = int(time.time())
        said = {
            "iss": self.address,
            "aud": AUDIENCE,
            "sub": "alice",
            "iat": now,
            "exp": now + 300,
            "realm_access": {"roles": ["agent"]},
            "agent_roles": ["finance"],
            **claims,
        }
        kept = {name: value for name, value in said.items() if value is not GONE}
        return jwt.encode(kept, key or private_key(algorithm), algorithm, headers={"kid": kid})

    def person_token(self, **claims: Any) -> str:
        """The token of an approver of the role manager who logged in by CLIENT, unless claims say otherwise."""
        login = {"sid": "a-login", "azp": CLIENT, "realm_access": {"roles": ["approver"]}, "agent_roles": ["manager"]}
        return self.token(**{**login, **claims})


@contextmanager
def serving() -> Iterator[KeyServer]:
    """One for as long as the block runs."""
    with listening(_Handler) as (server, address):
        server.said = said = KeyServer(address)
        try:
            yield said
        finally:
            said.closing.set()


@contextmanager
def trusting(*issuers: dict[str, Any]) -> Iterator[None]:
    """As a process that was started with these issuers in its settings."""
    with override_settings(OIDC_ISSUERS=issuers):
        jwks.issuers.cache_clear()
        try:
            yield
        finally:
            jwks.issuers.cache_clear()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        said: KeyServer = self.server.said  # type: ignore[attr-defined]
        said.asked.append(self.path)
        if said.silent:
            said.closing.wait(5)
            return
        status, headers, body = said.answers.get(self.path, (404, {}, b"{}"))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            for part in [body[at : at + 1] for at in range(len(body))] if said.drip else [body]:
                said.closing.wait(said.drip)
                self.wfile.write(part)
        except OSError:
            # Whoever asked has had enough.
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Nothing."""
