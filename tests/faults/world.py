"""A sound history, and the means to forge what the clients saw and what the database has."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg

from orchestrator import boundary
from sessions_app.models import Session, Task
from sessions_app.transitions import lease
from tests import work
from tests.concurrency import tasks
from tests.faults.checker import CLAIM, check
from tests.faults.history import Call, History, Outcome
from tests.sessions_app.session_calls import somebody

Connection = psycopg.Connection[Any]
Plant = Callable[["World"], None]


class World:
    """A sound history: two sessions opened, one moved, one refused; a task done, one held, one blocked by an approval;
    attempts that were lost; a read of another's.
    """

    def __init__(self, beside: Connection) -> None:
        self.beside, self.history = beside, History()
        self.a = self._opens("open-a")
        self.b = self._opens("open-b")
        self._moves("move-a-1", "active")
        self._moves("move-a-2", "completed")
        began = time.time()
        self.say("refused-a", began, Outcome.REFUSED, 409, b'{"type":"/problems/illegal-transition"}')
        self.say("refused-a", began, Outcome.REFUSED, 409, b'{"type":"/problems/illegal-transition"}', replayed=True)
        self.say("never", began, Outcome.UNKNOWN)
        self.say("busy", began, Outcome.REFUSED, 503, b"{}")
        self.say("", began, Outcome.OK, 200, f'{{"session_id":"{self.b.id}"}}'.encode())
        self.done = self._completes(*self._claims(self._routes("route-done")), "done")
        self.held, _ = self._claims(self._routes("route-held"))
        self.blocked = self._routes("route-blocked")
        self.approval = work.new_approval(self.blocked)

    def say(self, key: str, started: float, outcome: Outcome, status: int = 0, body: bytes = b"", **more: Any) -> Call:
        said = {"key": key, "op": "open", "object": "/sessions", "content_type": "application/json", **more}
        return self.history.add(
            Call(started=started, ended=time.time(), outcome=outcome, status=status, body=body, **said)
        )

    def _opens(self, key: str) -> Session:
        began = time.time()
        self.say(key, began, Outcome.UNKNOWN)
        self.say(key, began, Outcome.REFUSED, 409, b'{"type":"/problems/request-in-flight"}')
        session = work.open_session(by=somebody(), metadata={"key": key})
        body = f'{{"session_id":"{session.id}"}}'.encode()
        self.say(key, began, Outcome.OK, 201, body)
        self.say(key, began, Outcome.OK, 201, body, replayed=True)
        return session

    def _moves(self, key: str, status: str) -> None:
        began = time.time()
        self.a = work.move_session(self.a, status, by=somebody(), reason=key)
        at = f"/sessions/{self.a.id}"
        self.say(key, began, Outcome.OK, 200, f'{{"session_id":"{self.a.id}"}}'.encode(), op="move", object=at)

    def _routes(self, key: str) -> Task:
        began = time.time()
        task = tasks.routed(data={"key": key})
        said = {"op": "POST", "object": "/tasks/route"}
        self.say(key, began, Outcome.OK, 202, f'{{"task_id":"{task.id}"}}'.encode(), **said)
        return task

    def _claims(self, task: Task) -> tuple[Task, str]:
        began = time.time()
        held, token = tasks.held(task)
        self.say_granted(held, began)
        return held, token

    def say_granted(self, task: Task, began: float, epoch: int = 1) -> None:
        """A claim was answered with this task."""
        answer = {"tasks": [{"task_id": str(task.id), "lease": {"token": "…", "epoch": epoch}}]}
        self.say("", began, Outcome.OK, 200, json.dumps(answer).encode(), op="POST", object=CLAIM)

    def _completes(self, task: Task, token: str, mark: str) -> Task:
        """Whose answer was lost, and who asked again, without a key."""
        began = time.time()
        complete = partial(lease.complete, task, token=token, output={"key": mark}, actor=somebody("finn"))
        done = boundary.write(complete)
        said: dict[str, Any] = {"op": "POST", "object": f"/tasks/{task.id}/complete", "keyed": False}
        body = f'{{"task_id":"{task.id}","status":"completed"}}'.encode()
        self.say(mark, began, Outcome.UNKNOWN, **said)
        self.say(mark, began, Outcome.REFUSED, 503, b"{}", **said)
        for _ in range(2):
            self.say(mark, began, Outcome.OK, 200, body, **said)
        return done

    def change(self, chosen: Callable[[Call], bool], **changes: Any) -> None:
        """Let the clients have seen something else."""
        self.history.calls = [replace(call, **changes) if chosen(call) else call for call in self.history.calls]

    def forge(self, statement: str, *values: Any) -> None:
        """As a superuser whom no trigger and no CHECK refuses, in a transaction that is never committed."""
        self.unguarded()
        done = self.beside.execute(statement, values)
        assert done.rowcount == 1

    def unguarded(self) -> None:
        """Begin that transaction."""
        self.beside.execute("BEGIN")
        for table in ("sessions", "tasks", "task_attempts", "approvals", "audit_events"):
            self.beside.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        for table, name in (("audit_events", "columns"), ("audit_events", "hash"), ("tasks", "status")):
            self.beside.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_{name}")


def found(world: World) -> list[str]:
    """The rules that find something."""
    return sorted({violation.rule for violation in check(world.history, world.beside, patience=0.05)})
