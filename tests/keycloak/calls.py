"""Calling Keycloak and the service over HTTP."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit

from tests.keycloak.server import ADMIN, ADMIN_PASSWORD, Keycloak

CLIENT, SECRET = "goose-controller", "goose-controller-dev-secret"
TIMEOUT_SECONDS = 60


def call(method: str, url: str, token: str | None = None, body: Any = None) -> tuple[int, Any]:
    """Status and document of a JSON answer."""
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    asked = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT_SECONDS) as got:
            return got.status, _document(got.read())
    except HTTPError as refused:
        return refused.code, _document(refused.read())


def _document(body: bytes) -> Any:
    return json.loads(body) if body else None


def tokens(issuer: str, *, client: str = CLIENT, secret: str = SECRET, **form: str) -> dict[str, str]:
    """What the token endpoint answers."""
    body = urlencode({"client_id": client, "client_secret": secret, **form}).encode()
    with urllib.request.urlopen(f"{issuer}/protocol/openid-connect/token", body, timeout=TIMEOUT_SECONDS) as got:
        found: dict[str, str] = json.load(got)
        return found


def service_token(issuer: str, **client: str) -> str:
    """A token of the client itself."""
    return tokens(issuer, grant_type="client_credentials", **client)["access_token"]


def person_tokens(issuer: str, name: str) -> dict[str, str]:
    """The tokens of a person, whose password in these realms is their name."""
    return tokens(issuer, grant_type="password", username=name, password=f"{name}-password", scope="openid")


def person_token(issuer: str, name: str) -> str:
    """A person's access token."""
    return person_tokens(issuer, name)["access_token"]


def administer(keycloak: Keycloak, method: str, path: str, body: Any = None) -> Any:
    """A call of Keycloak's own admin API, below the realm `dev`."""
    issuer = keycloak.address("master")
    form = {"grant_type": "password", "username": ADMIN, "password": ADMIN_PASSWORD}
    answer = urlencode({"client_id": "admin-cli", **form}).encode()
    with urllib.request.urlopen(f"{issuer}/protocol/openid-connect/token", answer, timeout=TIMEOUT_SECONDS) as got:
        token = json.load(got)["access_token"]
    status, document = call(method, f"http://127.0.0.1:{keycloak.port}/admin/realms/dev{path}", token, body)
    assert status in (200, 201, 204), document
    return document


class Traffic:
    """Callers that go on asking for /sessions: every status that was answered, and how often."""

    def __init__(self, service: str, *bearers: str) -> None:
        self.statuses: list[int] = []
        self.bearers = list(bearers)
        self._service, self._over = urlsplit(service), threading.Event()

    def ask(self) -> None:
        """Ask with each token in turn until it is over, on a connection each time, so that every worker is met."""
        turn = 0
        while not self._over.wait(0.02):
            turn += 1
            connection = HTTPConnection(str(self._service.hostname), self._service.port, timeout=TIMEOUT_SECONDS)
            try:
                bearer = self.bearers[turn % len(self.bearers)]
                connection.request("GET", "/sessions", headers={"Authorization": f"Bearer {bearer}"})
                self.statuses.append(connection.getresponse().status)
            except OSError:
                self.statuses.append(0)
            finally:
                connection.close()

    def end(self) -> None:
        """No further question."""
        self._over.set()


@contextmanager
def traffic(service: str, *bearers: str, callers: int = 3) -> Iterator[Traffic]:
    """Callers for as long as the block runs."""
    asking = Traffic(service, *bearers)
    threads = [threading.Thread(target=asking.ask) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield asking
    finally:
        asking.end()
        for thread in threads:
            thread.join()
