"""The identity provider that people log in at: its endpoints, out of its discovery document, kept."""

import base64
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from urllib.parse import quote

from django.conf import settings

from bearer_tokens.discovery import FETCH_ERRORS, address_in, discovered, post_form
from bearer_tokens.jwks_cache import FRESH_SECONDS, STALE_SECONDS
from orchestrator import jwks
from orchestrator.problems import ServiceUnavailable

RETRY_SECONDS = 5
"""How long after a failure the provider is not asked again: a login is refused then without waiting for it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Provider:
    """Where to send somebody to log in, where to exchange the code, and where to log out, if it has such a place."""

    authorization: str
    token: str
    end_session: str | None

    def exchange(self, form: Mapping[str, str], *, client_id: str, client_secret: str) -> dict[str, Any]:
        """What the token endpoint answers; we say who we are by HTTP Basic (RFC 6749, section 2.3.1).

        Raises HTTPError where it refuses, OSError, HTTPException or ValueError where it does not answer as it should.
        """
        said = f"{quote(client_id, safe='')}:{quote(client_secret, safe='')}".encode()
        return post_form(self.token, form, {"Authorization": f"Basic {base64.b64encode(said).decode()}"})


class Discovery:
    """A provider's endpoints: fresh for ten minutes, usable for a day while it is away. `fetch` gets its document."""

    def __init__(self, fetch: Callable[[], dict[str, Any]], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch, self._clock = fetch, clock
        self._provider: Provider | None = None
        self._fetched_at = self._tried_at = float("-inf")
        # One fetch at a time: the others wait for it, or go on with what there is.
        self._flight = threading.Lock()

    def provider(self) -> Provider:
        """Raises ServiceUnavailable where it cannot be known."""
        if self._age() > FRESH_SECONDS:
            with self._flight:
                self._refresh()
        if self._provider is None or self._age() > STALE_SECONDS:
            raise ServiceUnavailable("The identity provider cannot be reached.", retry_after=RETRY_SECONDS)
        return self._provider

    def _age(self) -> float:
        return self._clock() - self._fetched_at

    def _refresh(self) -> None:
        """Fetch, unless somebody did while we waited for our turn. Keeps what there is if it fails."""
        if self._clock() - self._tried_at < RETRY_SECONDS:
            return
        try:
            self._provider, self._fetched_at = _read(self._fetch()), self._clock()
        except FETCH_ERRORS as error:
            log.warning("the provider could not be discovered", extra={"why": f"{type(error).__name__}: {error}"})
        self._tried_at = self._clock()


def _read(document: Mapping[str, Any]) -> Provider:
    """The endpoints of a discovery document (OpenID Connect Discovery, section 3). Raises ValueError."""
    authorization, token, end_session = (
        address_in(document, f"{name}_endpoint") for name in ("authorization", "token", "end_session")
    )
    if authorization is None or token is None:
        raise ValueError("the discovery document lacks an endpoint")
    return Provider(authorization, token, end_session)


def is_offered() -> bool:
    """Whether people can log in at a provider: OIDC_RP_CLIENT_ID is set, and there is an issuer."""
    return bool(settings.OIDC_RP_CLIENT_ID and settings.OIDC_ISSUERS)


def issuer() -> jwks.Issuer:
    """Who signs ID tokens: the first of the trusted issuers."""
    return jwks.issuers()[str(settings.OIDC_ISSUERS[0]["issuer"])]


@cache
def _discovery(name: str) -> Discovery:
    return Discovery(partial(discovered, name))


def provider() -> Provider:
    """The provider's endpoints. Raises ServiceUnavailable where they cannot be known."""
    return _discovery(issuer().name).provider()
