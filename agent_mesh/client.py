"""A client of the orchestrator: every call of its API, typed, tried again where that is safe."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import httpx

from agent_mesh import agreement
from agent_mesh.calls.approvals import Approvals
from agent_mesh.calls.audit import Audit
from agent_mesh.calls.service import Service
from agent_mesh.calls.sessions import Sessions
from agent_mesh.calls.tasks import Tasks
from agent_mesh.connection import TIMEOUT_SECONDS, Connection
from agent_mesh.filters import Id
from agent_mesh.retrying import Retry
from agent_mesh.shapes import Approval
from agent_mesh.tokens import StaticToken, TokenSource

_PATIENCE_SECONDS = 300.0


class Client:
    """One caller of one service. Threads may share it.

    Each write is one logical operation: it has one Idempotency-Key, the caller's or one that is made for it, and keeps
    it over its attempts, so that it is done once however often it is sent. `timeout` is in seconds, for each attempt;
    calls that wait may take so much longer. What goes wrong is a MeshError: Refused with the problem, Unreachable,
    NoToken or NotTheService.
    """

    def __init__(
        self,
        base_url: str,
        token: str | TokenSource | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        retry: Retry | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        tokens = StaticToken(token) if isinstance(token, str) else token
        self._over(Connection(base_url, tokens, timeout=timeout, retry=retry, transport=transport))

    def _over(self, connection: Connection) -> None:
        self._connection = connection
        self.sessions = Sessions(connection)
        self.tasks = Tasks(connection)
        self.approvals = Approvals(connection)
        self.audit = Audit(connection)
        self.service = Service(connection)

    def traced(self, trace_id: str) -> "Client":
        """The same client, for calls that belong to a trace: 1 to 128 visible ASCII characters."""
        return self._with(self._connection.traced(trace_id))

    def acting_as(self, token: str | TokenSource) -> "Client":
        """The same way to the service, with another token."""
        return self._with(self._connection.acting_as(StaticToken(token) if isinstance(token, str) else token))

    def trying(self, retry: Retry, timeout: float) -> "Client":
        """The same client with another patience; `timeout` in seconds, for each attempt."""
        return self._with(self._connection.trying(retry, timeout))

    @contextmanager
    def approved(
        self,
        action: Mapping[str, Any],
        *,
        approver_role: str,
        reason: str | None = None,
        task_id: Id | None = None,
        session_id: Id | None = None,
        required_approvals: int | None = None,
        expires_in_seconds: int | None = None,
        use_within_seconds: int | None = None,
        timeout_seconds: float | None = None,
    ) -> Iterator[Approval]:
        """Run the block once people agreed to exactly this action, with their consumed approval.

        Asks people of a role, or finds the request of an earlier call for the same action of the same task, session or
        requester; waits for them, until the request expires unless `timeout_seconds` says otherwise; and consumes the
        grant right before the block. A process that is killed while it waits makes the same call again and goes on with
        the same request. A grant is used once: what fails in the block needs a new one. While the service is away, it
        is asked again for five minutes.

        Raises NotApproved, which says which approval and how it ended, and MeshError for calls that fail; the block
        does not run then.
        """
        terms = agreement.Terms(
            approver_role=approver_role,
            reason=reason,
            task_id=task_id,
            session_id=session_id,
            required_approvals=required_approvals,
            expires_in_seconds=expires_in_seconds,
            use_within_seconds=use_within_seconds,
        )
        waiting = agreement.Waiting(patience_seconds=_PATIENCE_SECONDS)
        yield agreement.obtain(self.approvals, action, terms, waiting, timeout_seconds)

    def _with(self, connection: Connection) -> "Client":
        other = object.__new__(Client)
        other._over(connection)
        return other

    def close(self) -> None:
        """Let go of the sockets, also for those made from this one."""
        self._connection.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
