"""Somebody at the admin's login, in a browser of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from django.test import Client

from orchestrator import jwks
from orchestrator.people import provider as people_provider
from tests.orchestrator.oidc_provider import API_AUDIENCE, CLIENT_ID, CLIENT_SECRET, OidcProvider, serving

ROLES = {"realm_access": {"roles": ["operator"]}}


@contextmanager
def configured(settings: Any) -> Iterator[OidcProvider]:
    """A provider that is served, and the service told of it."""
    with serving() as provider:
        settings.OIDC_ISSUERS = (
            {"issuer": provider.issuer, "audience": API_AUDIENCE, "jwks_url": "", "tenants": ("default", "acme")},
        )
        settings.OIDC_RP_CLIENT_ID, settings.OIDC_RP_CLIENT_SECRET = CLIENT_ID, CLIENT_SECRET
        settings.AUTHENTICATION_BACKENDS = ["orchestrator.people.login.OidcLogin", *settings.AUTHENTICATION_BACKENDS]
        forget()
        try:
            yield provider
        finally:
            forget()


def forget() -> None:
    """What the process keeps of issuers."""
    jwks.issuers.cache_clear()
    people_provider._discovery.cache_clear()


class Browser:
    """One person's."""

    def __init__(self, provider: OidcProvider) -> None:
        self.provider = provider
        self.client = Client(raise_request_exception=False)

    def begin(self, query: str = "") -> str:
        """Where the login button leads."""
        answer = self.client.get(f"/oidc/authenticate/{query}")
        assert answer.status_code == 302, answer.content
        return str(answer["Location"])

    def log_in(self, query: str = "", **grant: Any) -> Any:
        """From the button to the answer of the callback; the ID token names an operator unless told otherwise."""
        return self.back(self.provider.grant(self.begin(query), **{**ROLES, **grant}))

    def back(self, query: str) -> Any:
        """Come back from the provider."""
        return self.client.get(f"/oidc/callback/?{query}")

    def is_in(self) -> bool:
        """Whether the admin is shown."""
        answer = self.client.get("/admin/")
        assert answer.status_code in (200, 302)
        return answer.status_code == 200

    def state_of(self, authorize: str) -> str:
        """The state of a login that was begun."""
        return dict(part.split("=", 1) for part in urlsplit(authorize).query.split("&"))["state"]


def is_page(answer: Any) -> bool:
    """Whether an answer is a page for people, and no problem document."""
    return bool(answer["Content-Type"].startswith("text/html") and b"<h1>" in answer.content)
