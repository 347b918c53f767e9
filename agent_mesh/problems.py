"""What may go wrong with a call, as exceptions that carry what the service said."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

IN_FLIGHT = "request-in-flight"


class MeshError(Exception):
    """Anything that this package raises about a call.

    `key` is the Idempotency-Key that a write was under. `maybe_done`: an attempt was sent of which nobody knows what
    became of it, whatever the last one failed by. The same call under the same key is done once.
    """

    key: str = ""
    maybe_done: bool = False


class Unreachable(MeshError):  # noqa: N818  it says what is so
    """Nothing answered: refused, cut off or too late, as often as it was tried."""

    def __init__(self, where: str, attempts: int, why: Exception) -> None:
        tried = "once" if attempts == 1 else f"{attempts} times"
        super().__init__(f"{where} cannot be reached, tried {tried}: {why or type(why).__name__}")
        self.attempts = attempts


class NoToken(MeshError):  # noqa: N818
    """There is no token to call with: nothing was sent to the service."""


class NotTheService(MeshError):  # noqa: N818
    """Something answered with success, and with what the orchestrator would not say."""


@dataclass(frozen=True)
class Problem:
    """A problem document (RFC 9457) as the service answers it."""

    status: int
    type: str = "about:blank"
    title: str = ""
    detail: str = ""
    instance: str = ""
    request_id: str = ""
    members: Mapping[str, Any] = field(default_factory=dict)
    """What belongs to its kind: `errors`, `from`, `to`, `allowed`, …"""

    retry_after: float | None = None
    """Seconds to wait before the same may be sent again, where the answer said so."""

    @classmethod
    def read(cls, status: int, document: object, retry_after: float | None = None) -> "Problem":
        """Of an answer's body; of one that is no problem document, such as a proxy's page, no more than the status."""
        said = dict(document) if isinstance(document, dict) else {}
        named = ("type", "title", "detail", "instance", "request_id")
        texts = {name: str(said.pop(name)) for name in named if isinstance(said.get(name), str)}
        said.pop("status", None)
        return cls(status, **texts, members=said, retry_after=retry_after)

    @property
    def leaves_open(self) -> bool:
        """Whether what was asked for may have been done, or be done yet."""
        return self.status >= 500 or self.slug == IN_FLIGHT

    @property
    def slug(self) -> str:
        """Its kind, as `illegal-transition`; empty where the service gave none."""
        return self.type.rpartition("/problems/")[2] if "/problems/" in self.type else ""

    @property
    def errors(self) -> list[tuple[str, str]]:
        """Each field that is wrong, and what is wrong with it."""
        listed = self.members.get("errors") or []
        return [(str(error.get("field")), str(error.get("message"))) for error in listed]

    def __str__(self) -> str:
        what = self.detail or self.title or "The service gave no reason."
        wrong = "".join(f" {name}: {message}" for name, message in self.errors)
        kind = f"{self.status} {self.slug}".rstrip()
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"{kind}: {what}{wrong}{request}"


class Refused(MeshError):  # noqa: N818
    """The service said no. `problem` is what it said; tell kinds apart by `slug`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem

    @property
    def status(self) -> int:
        """The number of the answer, as 409."""
        return self.problem.status

    @property
    def slug(self) -> str:
        """The kind, as `lease-lost`."""
        return self.problem.slug
