"""The MCP server over streamable HTTP: an ASGI application whose callers each bring a token of their own."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.settings import AuthSettings
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent_mesh.bearer import BearerCheck
from agent_mesh.callers import Asked, RecentRequests, derived_key
from agent_mesh.client import Client
from agent_mesh.environment import Environment, Unusable
from agent_mesh.forwarding import Exchanged, Forwarding, PassedOn
from agent_mesh.problems import NoToken
from agent_mesh.server import build
from agent_mesh.tokens import TokenEndpoint
from bearer_tokens.discovery import key_fetcher
from bearer_tokens.issuers import TrustedIssuer
from bearer_tokens.jwks_cache import KeyCache, KeysUnavailable

_LONGEST_BODY = 1_048_576
_SESSION = "mcp-session-id"
_METADATA = re.compile(r'resource_metadata="[^"]*"')


class ManyCallers:
    """Over HTTP: whoever sent the request, by the token that came with it."""

    def __init__(self, client: Client, forwarding: Forwarding) -> None:
        self._client, self._forwarding = client, forwarding
        self._recent = RecentRequests()

    def client(self, ctx: Asked) -> Client:
        """With their token, or one exchanged for it. Raises NoToken, which the check before makes impossible."""
        return self._client.acting_as(self._forwarding.source(_user(ctx).access_token.token))

    def key(self, ctx: Asked, tool: str, arguments: Mapping[str, Any]) -> str:
        """In a session a JSON-RPC id names one request; where there is no session, for a minute."""
        token = _user(ctx).access_token
        caller = f"{(token.claims or {}).get('iss')}|{token.subject}"
        session = _request(ctx).headers.get(_SESSION)
        if session:
            return derived_key(f"{session} {caller}", ctx.request_id, tool, arguments)
        return self._recent.key(caller, ctx.request_id, tool, arguments)


def _user(ctx: Asked) -> AuthenticatedUser:
    """Of this very request: a session may outlive the token that began it."""
    user = _request(ctx).scope.get("user")
    if not isinstance(user, AuthenticatedUser):
        raise NoToken("The request has no bearer token.")
    return user


def _request(ctx: Asked) -> Request:
    request = ctx.request_context.request
    if not isinstance(request, Request):
        raise NoToken("There is no HTTP request that could have a bearer token.")
    return request


class TellsOfMissingKeys:
    """503 where nobody can tell whether a token is good: neither a 401, which would be untrue, nor a 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            await self._app(scope, receive, send)
        except KeysUnavailable:
            said = {"error": "temporarily_unavailable", "error_description": "The issuer's keys are not to be had."}
            await JSONResponse(said, 503, {"Retry-After": "5"})(scope, receive, send)


class ChallengesWithoutError:
    """A 401 for a request without a bearer token names no error (RFC 6750, section 3.1). The SDK always names one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or _has_bearer(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return

        async def send_changed(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 401:
                headers = MutableHeaders(scope=message)
                metadata = _METADATA.search(headers.get("WWW-Authenticate", ""))
                headers["WWW-Authenticate"] = f"Bearer {metadata[0]}" if metadata else "Bearer"
            await send(message)

        await self._app(scope, receive, send_changed)


def _has_bearer(headers: Headers) -> bool:
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and bool(token.strip())


def application(environment: Environment) -> ASGIApp:
    """As the environment says: docs/agents.md names the variables. Raises Unusable."""
    address = environment.text("MESH_PUBLIC_URL")
    public = urlsplit(address)
    if public.scheme not in ("http", "https") or not public.hostname:
        raise Unusable("MESH_PUBLIC_URL must be the address at which clients find this server, such as https://…/mcp.")
    issuer = environment.text("MESH_ISSUER_URL")
    keys = KeyCache(key_fetcher(issuer, environment.text("MESH_JWKS_URL", "")))
    trusted = TrustedIssuer(issuer, environment.text("MESH_AUDIENCE", address), keys.key)
    callers = ManyCallers(environment.cancellable_client(None), _forwarding(environment))
    server = build(
        callers,
        # As texts: an address made by pydantic ends with a slash, and issuers are compared letter by letter.
        auth=AuthSettings.model_validate(
            {"issuer_url": issuer, "resource_server_url": address, "validate_token_resource": False}
        ),
        verifier=BearerCheck(trusted),
    )
    origin = f"{public.scheme}://{public.netloc}"
    security = TransportSecuritySettings(allowed_hosts=[public.netloc], allowed_origins=[origin])
    path = public.path.rstrip("/") or "/mcp"
    app = server.streamable_http_app(
        streamable_http_path=path, transport_security=security, max_request_body_size=_LONGEST_BODY
    )
    # Outside the check of the token, and inside what makes a 500 of an exception.
    app.add_middleware(TellsOfMissingKeys)
    app.add_middleware(ChallengesWithoutError)
    return app


def _forwarding(environment: Environment) -> Forwarding:
    """MESH_FORWARD has no default: what a caller's token may be used for is somebody's decision."""
    how = environment.text("MESH_FORWARD")
    if how == "pass":
        return PassedOn()
    if how == "exchange":
        endpoint = TokenEndpoint(
            environment.text("MESH_TOKEN_URL"),
            environment.text("MESH_CLIENT_ID"),
            environment.secret("MESH_CLIENT_SECRET"),
        )
        return Exchanged(endpoint, environment.text("MESH_TARGET_AUDIENCE"), environment.text("MESH_SCOPE", ""))
    raise Unusable(f"MESH_FORWARD must be `exchange` or `pass`, not {how!r}.")
