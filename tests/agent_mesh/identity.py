"""An identity provider on loopback: it shows its keys, signs tokens, and exchanges them (RFC 8693)."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import jwt

from tests.listening import listening
from tests.orchestrator.key_server import CLIENT, jwk, private_key

SERVICE, MESH, SECRET = "orchestrator", "agent-mesh", "s3cret"
ITSELF = "the-mesh-itself"
"""The subject of the mesh's own tokens."""
_PARTIES = ("subject_token", "actor_token")
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


@dataclass
class Provider:
    """Its issuer is its address."""

    address: str
    exchanged: list[dict[str, str]] = field(default_factory=list)
    delegates: bool = False
    """Whether an exchanged token names in `act` whose `actor_token` came along; Keycloak's do not."""

    def token(self, subject: str = "alice", audience: Any = MESH, **claims: Any) -> str:
        """An access token of an agent of the role finance."""
        now = int(time.time())
        said = {"iss": self.address, "sub": subject, "aud": audience, "iat": now, "exp": now + 300, "jti": uuid4().hex}
        said |= {"realm_access": {"roles": ["agent"]}, "agent_roles": ["finance"], **claims}
        return jwt.encode(said, private_key("EdDSA"), "EdDSA", headers={"kid": "key-1", "typ": "at+jwt"})

    def person_token(self, subject: str = "petra", audience: Any = SERVICE, **claims: Any) -> str:
        """An access token of an approver of the role manager, who logged in by a client that may decide."""
        login = {"sid": "a-login", "azp": CLIENT, "realm_access": {"roles": ["approver"]}, "agent_roles": ["manager"]}
        return self.token(subject, audience, **{**login, **claims})

    def exchange(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """A token for the mesh alone: its own, or one for the service in its caller's name."""
        known = base64.b64encode(f"{MESH}:{SECRET}".encode()).decode()
        if authorization != f"Basic {known}" or form["grant_type"] not in (_EXCHANGE, "client_credentials"):
            return 401, {"error": "invalid_client"}
        if form["grant_type"] == "client_credentials":
            own = self.token(ITSELF, form["audience"], azp=MESH, client_id=MESH)
            return 200, {"access_token": own, "token_type": "Bearer", "expires_in": 300}
        self.exchanged.append(form)
        claims, actor = (jwt.decode(form[name], options={"verify_signature": False}) for name in _PARTIES)
        kept = {name: claims[name] for name in ("realm_access", "agent_roles", "sid") if name in claims}
        act = {"act": {"sub": actor["sub"]}} if self.delegates else {}
        return 200, {
            "access_token": self.token(claims["sub"], form["audience"], azp=MESH, **kept, **act),
            "issued_token_type": form["requested_token_type"],
            "token_type": "Bearer",
            "expires_in": 300,
        }

    def environment(self) -> dict[str, str]:
        """What the service is told to trust it by."""
        return {
            "OIDC_ISSUER_URL": self.address,
            "OIDC_AUDIENCE": SERVICE,
            "OIDC_JWKS_URL": f"{self.address}/keys",
            "OIDC_DECIDING_CLIENTS": CLIENT,
        }


@contextmanager
def providing() -> Iterator[Provider]:
    """One for as long as the block runs."""
    with listening(_Handler) as (server, address):
        server.provider = provider = Provider(address)
        yield provider


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        provider: Provider = self.server.provider  # type: ignore[attr-defined]
        if self.path == "/keys":
            self._answer(200, {"keys": [jwk("key-1")]})
        elif self.path == "/.well-known/openid-configuration":
            self._answer(200, {"issuer": provider.address, "jwks_uri": f"{provider.address}/keys"})
        else:
            self._answer(404, {})

    def do_POST(self) -> None:
        provider: Provider = self.server.provider  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self._answer(*provider.exchange(form, self.headers.get("Authorization", "")))

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""
