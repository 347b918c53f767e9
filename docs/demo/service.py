"""The running service: calls over HTTP, and what manage.py is asked for."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

ROOT = Path(__file__).resolve().parent.parent.parent
_PATIENCE_SECONDS = 30

# The service is on this machine: a proxy that the environment names would look for it on its own.
_opener = build_opener(ProxyHandler({}))


class CannotGoOn(Exception):  # noqa: N818  something a person has to mend first
    """Says what, and how."""


@dataclass(frozen=True)
class Answer:
    """A status and a JSON body; an empty one where there is no body."""

    call: str
    status: int
    body: dict[str, Any]

    @property
    def slug(self) -> str:
        """The kind of refusal, as `illegal-transition`."""
        return str(self.body.get("type", "")).removeprefix("/problems/")


@dataclass(frozen=True)
class Caller:
    """Somebody who calls the service at `base`; with no token, a stranger."""

    base: str
    token: str = ""

    def get(self, path: str, **headers: str) -> Answer:
        """Read."""
        return self.send("GET", path, None, headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """Open, route, claim. `idempotency_key="…"` becomes the header Idempotency-Key."""
        return self.send("POST", path, json.dumps(body).encode(), headers)

    def put(self, path: str, body: Any, **headers: str) -> Answer:
        """Move or change. `if_match="…"` becomes the header If-Match."""
        return self.send("PUT", path, json.dumps(body).encode(), headers)

    def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        """Send bytes as they are. Raises CannotGoOn where nothing answers."""
        known = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        known |= {"Content-Type": "application/json"} if body is not None else {}
        known |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            status, raw = _exchange(Request(self.base + path, data=body, method=method, headers=known))
            return Answer(f"{method} {path}", status, json.loads(raw) if raw else {})
        except (OSError, HTTPException) as error:
            raise CannotGoOn(
                f"nothing answers at {self.base} ({error}). Start it in another terminal: make run"
            ) from error
        except ValueError as error:
            raise CannotGoOn(f"what answers at {self.base} is not the orchestrator. Set ORCHESTRATOR_URL.") from error


def _exchange(request: Request) -> tuple[int, bytes]:
    try:
        with _opener.open(request, timeout=_PATIENCE_SECONDS) as answer:
            return answer.status, answer.read()
    except HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read()


def insist_on_service(base: str) -> None:
    """Raises CannotGoOn unless the service at that address is ready."""
    answer = Caller(base).get("/readyz")
    if answer.status != 200:
        raise CannotGoOn(f"the service at {base} is not ready: {answer.body.get('detail', answer.status)}")


def issue_token(subject: str, *options: str) -> str:
    """A token for an hour, signed with the key of the service's data folder."""
    return manage("issue_token", "--subject", subject, *options).splitlines()[-1]


def command(*arguments: str) -> tuple[int, str]:
    """The exit code of `manage.py`, and what it prints."""
    done = _manage(*arguments)
    return done.returncode, done.stdout


def manage(*arguments: str) -> str:
    """What `manage.py` prints. Raises CannotGoOn where it fails."""
    done = _manage(*arguments)
    if done.returncode:
        # The last line may only count what failed; the lines before it say what.
        why = " ".join(done.stderr.split())[-500:] or "it says nothing"
        raise CannotGoOn(
            f"manage.py {arguments[0]} fails: {why} Set ORCHESTRATOR_VAR and DATABASE_URL as for make run."
        )
    return done.stdout


def _manage(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )
