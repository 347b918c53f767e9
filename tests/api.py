"""Calling the API as somebody."""

import json
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.test import Client

from orchestrator.management.commands import issue_token

AGENT_ROLE = "finance"
_OPTIONS = {
    "tenant": "default",
    "ttl": 3600,
    "act_subject": None,
    "service_account": False,
    "client": settings.LOCAL_CLIENT,
    "acr": "",
}


def token(subject: str = "alice", roles: str = "agent", agent_roles: str = AGENT_ROLE, **options: Any) -> str:
    """A bearer token signed with the service's own key, as `manage.py issue_token` makes it.

    Without the way through its options, of which tests would go tens of thousands.
    """
    known = {"subject": subject, "roles": roles, "agent_roles": agent_roles}
    return issue_token.Command().handle(**{**_OPTIONS, **known, **options})


class Api:
    """A caller of the API. Bodies are JSON; `headers` add to those of the caller."""

    def __init__(self, bearer: str | None) -> None:
        self.headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        self.client = Client(raise_request_exception=False)

    def get(self, path: str, **headers: str) -> Any:
        return self.send("GET", path, None, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.send("POST", path, body, **headers)

    def put(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.send("PUT", path, body, **headers)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a body as JSON; `if_match="…"` becomes the header If-Match."""
        raw = b"" if body is None else json.dumps(body).encode()
        return self.send_raw(method, path, raw, **headers)

    def send_raw(
        self, method: str, path: str, body: bytes, content_type: str = "application/json", **headers: str
    ) -> Any:
        """Send bytes as they are."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.generic(method, path, body, content_type, headers={**self.headers, **named})


def errors(answer: Any) -> Iterable[str]:
    """The fields that a 400 complains of."""
    return [error["field"] for error in answer.json()["errors"]]
