"""How this process reaches the service: read from the environment, refusing what cannot be used."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from agent_mesh.cancelling import CancellableTransport, sleep
from agent_mesh.client import Client
from agent_mesh.retrying import Retry
from agent_mesh.tokens import ClientCredentials, StaticToken, TokenFile, TokenSource

DEFAULT_URL = "http://localhost:8088"


class Unusable(Exception):  # noqa: N818
    """A variable is missing, or says what cannot be; which, and how to mend it. No secret is shown."""


@dataclass(frozen=True)
class Environment:
    """The variables, and typed ways to read them. Each raises Unusable."""

    variables: Mapping[str, str]

    @classmethod
    def of_process(cls) -> "Environment":
        """What this process was started with."""
        return cls(os.environ)

    def text(self, name: str, default: str | None = None) -> str:
        """As it stands, stripped. Without a default it must be set."""
        value = self.variables.get(name, "").strip()
        if value:
            return value
        if default is None:
            raise Unusable(f"{name} must be set.")
        return default

    def secret(self, name: str, default: str | None = None) -> str:
        """A value, or the content of the file that NAME_FILE names."""
        path = self.text(f"{name}_FILE", "")
        if not path:
            return self.text(name, default)
        try:
            return Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Unusable(f"{name}_FILE names {path}, which cannot be read: {error}") from error

    def count(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number within bounds."""
        value = self.text(name, str(default))
        if not (value.isascii() and value.isdigit() and least <= int(value) <= most):
            raise Unusable(f"{name} must be a whole number from {least} to {most}, not {value!r}.")
        return int(value)

    def seconds(self, name: str, default: float, most: float) -> float:
        """Seconds, more than none."""
        value = self.text(name, str(default))
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not 0 < number <= most:
            raise Unusable(f"{name} must be a number of seconds above 0 and up to {most:g}, not {value!r}.")
        return number

    def tokens(self) -> TokenSource | None:
        """MESH_JWT_TOKEN, MESH_JWT_TOKEN_FILE, or client credentials by MESH_TOKEN_URL; None where there is none."""
        if self.text("MESH_JWT_TOKEN_FILE", ""):
            return TokenFile(self.text("MESH_JWT_TOKEN_FILE"))
        if self.text("MESH_JWT_TOKEN", ""):
            return StaticToken(self.text("MESH_JWT_TOKEN"))
        if self.text("MESH_TOKEN_URL", ""):
            return ClientCredentials(
                self.text("MESH_TOKEN_URL"),
                self.text("MESH_CLIENT_ID"),
                self.secret("MESH_CLIENT_SECRET"),
                scope=self.text("MESH_SCOPE", ""),
                audience=self.text("MESH_TARGET_AUDIENCE", ""),
            )
        return None

    def client(self, tokens: TokenSource | None) -> Client:
        """CONTROLLER_URL, reached MESH_RETRY_COUNT times at most, each within MESH_TIMEOUT_SECS."""
        return self._client(tokens, Retry(attempts=self._attempts()), None)

    def cancellable_client(self, tokens: TokenSource | None) -> Client:
        """The same for tools of the MCP server: where their call is cancelled, its requests and pauses end."""
        return self._client(tokens, Retry(attempts=self._attempts(), sleep=sleep), CancellableTransport())

    def _attempts(self) -> int:
        return self.count("MESH_RETRY_COUNT", 3, 1, 20)

    def _client(self, tokens: TokenSource | None, retry: Retry, transport: httpx.BaseTransport | None) -> Client:
        timeout = self.seconds("MESH_TIMEOUT_SECS", 30.0, 600)
        where = self.text("CONTROLLER_URL", DEFAULT_URL)
        try:
            return Client(where, tokens, timeout=timeout, retry=retry, transport=transport)
        except ValueError as error:
            raise Unusable(f"CONTROLLER_URL: {error}") from error
