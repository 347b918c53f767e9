"""What the clients saw: each call as its client had it, answered, refused, or unknown."""

import threading
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum

_IN_FLIGHT = b'"/problems/request-in-flight"'


class Outcome(StrEnum):
    """What a client knows afterwards."""

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One attempt. Whoever asks for an effect marks it with the key: as `metadata.key` of a session, `data.key` of a
    task or `output.key` of what came of it, or as the reason of a move. A mark is not always sent as a key: `keyed`.
    """

    key: str
    keyed: bool = True
    op: str
    object: str
    tenant: str = "default"
    sent: str = ""
    started: float
    ended: float
    outcome: Outcome
    status: int = 0
    content_type: str = ""
    body: bytes = b""
    replayed: bool = False

    @property
    def is_final(self) -> bool:
        """Whether the key has its answer with this: done, or refused on state."""
        return self.outcome is Outcome.OK or (self.status == 409 and _IN_FLIGHT not in self.body)


@dataclass
class History:
    """The log that all clients share."""

    calls: list[Call] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, call: Call) -> Call:
        """Write it down."""
        with self._lock:
            self.calls.append(call)
        return call

    def by_key(self) -> dict[str, list[Call]]:
        """The calls with each mark, in the order they began."""
        found: dict[str, list[Call]] = defaultdict(list)
        for call in sorted(self.calls, key=lambda call: call.started):
            if call.key:
                found[call.key].append(call)
        return found

    def finals(self) -> dict[str, list[Call]]:
        """The final answers of each key."""
        return {key: [call for call in calls if call.is_final] for key, calls in self.by_key().items()}
