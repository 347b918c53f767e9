"""One Keycloak for the run, and the service in front of it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from tests.gunicorn_server import serving
from tests.keycloak.calls import CLIENT, SECRET
from tests.keycloak.server import Keycloak, unpacked


@pytest.fixture(scope="session")
def keycloak() -> Iterator[Keycloak]:
    """Keycloak, with the realms `dev` and `existing`."""
    server = Keycloak(unpacked())
    server.start()
    yield server
    server.close()


Serving = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def serving_realm(keycloak: Keycloak) -> Serving:
    """Serve with the tokens of a realm; further settings by name."""

    def serve(realm: str = "dev", **env: str) -> AbstractContextManager[str]:
        known = {
            "OIDC_ISSUER_URL": keycloak.address(realm),
            "OIDC_AUDIENCE": CLIENT,
            "OIDC_DECIDING_CLIENTS": CLIENT,
        }
        login = {"OIDC_RP_CLIENT_ID": CLIENT, "OIDC_RP_CLIENT_SECRET": SECRET}
        return serving(**{**known, **login, **env})

    return serve


@pytest.fixture
def service(serving_realm: Serving) -> Iterator[str]:
    """The service with the realm `dev`."""
    with serving_realm() as address:
        yield address
