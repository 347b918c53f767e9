"""An identity provider on loopback: discovery, keys and a token endpoint that insists on its client and on PKCE.

Its authorization page is not served: `grant()` is what a person's consent there would lead to.
"""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from tests.listening import listening

CLIENT_ID, CLIENT_SECRET = "orchestrator-web", "s3cret: with/odd+characters"
API_AUDIENCE = "orchestrator-api"
KID = "key-1"
GONE: Any = object()
"""A claim that is left out."""

_key = ec.generate_private_key(ec.SECP256R1())


class OidcProvider:
    """What it answers can be changed by the test: `document`, `status` of the token endpoint, claims of a grant."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.document: dict[str, Any] = {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "jwks_uri": f"{issuer}/jwks",
            "end_session_endpoint": f"{issuer}/logout",
        }
        self.status = 200
        self.asked: list[str] = []
        self._grants: dict[str, tuple[dict[str, str], dict[str, Any]]] = {}

    def grant(
        self, authorize: str, *, id_token: Any = None, access: Mapping[str, Any] | None = None, **claims: Any
    ) -> str:
        """The query of the callback after somebody said yes at the address that they were sent to.

        `claims` change those of the ID token; `id_token` replaces it; `access` are the claims of the access token.
        """
        asked = dict(parse_qsl(urlsplit(authorize).query))
        code = secrets.token_urlsafe()
        answer = {
            "access_token": self.signed({**self._basic(), "aud": API_AUDIENCE, **(access or {})}),
            "id_token": id_token or self.signed({**self._basic(), "aud": CLIENT_ID, "nonce": asked["nonce"], **claims}),
            "token_type": "Bearer",
        }
        self._grants[code] = asked, answer
        return f"code={code}&state={asked['state']}"

    def signed(self, claims: Mapping[str, Any], key: Any = _key, **header: Any) -> str:
        """A token of this provider's; a claim that is callable is called."""
        chosen = {name: value() if callable(value) else value for name, value in claims.items() if value is not GONE}
        head = {"kid": KID, "alg": "ES256", **header}
        return jwt.encode(chosen, key, algorithm=head["alg"], headers=head)

    def _basic(self) -> dict[str, Any]:
        now = int(time.time())
        return {"iss": self.issuer, "sub": "7", "iat": now, "exp": now + 60}

    def keys(self) -> dict[str, Any]:
        """Its key set."""
        jwk = ECAlgorithm.to_jwk(_key.public_key(), as_dict=True)
        return {"keys": [{**jwk, "kid": KID, "use": "sig", "alg": "ES256"}]}

    def exchange(self, form: Mapping[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """What the token endpoint does with a code, once."""
        basic = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        if [unquote(part) for part in basic.split(":")] != [CLIENT_ID, CLIENT_SECRET]:
            return 401, {"error": "invalid_client"}
        asked, answer = self._grants.pop(form.get("code", ""), ({}, {}))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        proven = asked.get("code_challenge") == challenge.rstrip(b"=").decode()
        if not proven or asked.get("code_challenge_method") != "S256" or form["redirect_uri"] != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        return self.status, answer


@contextmanager
def serving() -> Iterator[OidcProvider]:
    """A provider for as long as the block runs."""
    with listening(_Handler) as (server, address):
        server.provider = provider = OidcProvider(f"{address}/realms/tests")
        yield provider


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.removeprefix("/realms/tests")
        known = {"/.well-known/openid-configuration": lambda: self._provider.document, "/jwks": self._provider.keys}
        self._provider.asked.append(path)
        self._answer(200, known[path]()) if path in known else self._answer(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._provider.asked.append(self.path.removeprefix("/realms/tests"))
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self._answer(*self._provider.exchange(form, self.headers["Authorization"]))

    @property
    def _provider(self) -> OidcProvider:
        provider: OidcProvider = self.server.provider  # type: ignore[attr-defined]
        return provider

    def _answer(self, status: int, document: Mapping[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        if status in (301, 302, 307, 308):
            self.send_header("Location", f"{self._provider.issuer}/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""
