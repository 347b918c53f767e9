"""What the service is called with on behalf of somebody who called here: their own token, or one exchanged for it."""

import hashlib
import threading
from collections import OrderedDict
from typing import Protocol

from agent_mesh.tokens import Renewed, StaticToken, TokenEndpoint, TokenSource

_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  a name of RFC 8693
_MOST_KEPT = 1_000


class Forwarding(Protocol):
    """A token for the service, for each token that was good here."""

    def source(self, bearer: str) -> TokenSource:
        """Where that token comes from."""


class PassedOn:
    """The same token: for issuers that name both this server and the service in its audience."""

    def source(self, bearer: str) -> TokenSource:
        """As it came."""
        return StaticToken(bearer)


class Exchanged:
    """A token for the service's audience, by RFC 8693; kept for as long as the caller's token is in use.

    This server's own token goes along as `actor_token`, so that the exchanged token can say who acts for the caller.
    """

    def __init__(self, endpoint: TokenEndpoint, audience: str, scope: str = "") -> None:
        self._endpoint, self._audience, self._scope = endpoint, audience, scope
        self._actor = Renewed(lambda: endpoint.grant(grant_type="client_credentials", audience=audience))
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, Renewed] = OrderedDict()

    def source(self, bearer: str) -> TokenSource:
        """The one that was exchanged for it before, or a new one. No bearer token is kept as a key."""
        name = hashlib.sha256(bearer.encode()).digest()
        with self._lock:
            source = self._kept.pop(name, None) or Renewed(lambda: self._exchange(bearer))
            self._kept[name] = source
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return source

    def _exchange(self, bearer: str) -> tuple[str, float]:
        return self._endpoint.grant(
            grant_type=_EXCHANGE,
            subject_token=bearer,
            subject_token_type=_ACCESS_TOKEN,
            actor_token=self._actor.token(),
            actor_token_type=_ACCESS_TOKEN,
            requested_token_type=_ACCESS_TOKEN,
            audience=self._audience,
            scope=self._scope,
        )
