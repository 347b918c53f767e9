"""A client that a generator makes of the API's document tells the same story: the document is enough to work by."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest

from sessions_app.models import Approval, Task
from tests.api import token
from tests.contract.api_document import document
from tests.gunicorn_server import serving
from tests.sessions_app.approval_calls import ACTION

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
NAME = "generated_orchestrator"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it was generated."""
    return tmp_path_factory.mktemp("generated")


def generated(folder: Path) -> str:
    """Generate it, and tell what the generator had to say."""
    (folder / "openapi.json").write_text(json.dumps(document()))
    (folder / "config.yml").write_text("post_hooks: []\n")
    generator = str(Path(sys.executable).with_name("openapi-python-client"))
    options = ["--path", "openapi.json", "--config", "config.yml", "--output-path", NAME, "--meta", "none"]
    done = subprocess.run(
        [generator, "generate", *options, "--fail-on-warning"],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Somebody:
    """A caller by way of the generated client."""

    def __init__(self, base: str, bearer: str) -> None:
        self.client = part("client").AuthenticatedClient(base_url=base, token=bearer, raise_on_unexpected_status=True)

    def __enter__(self) -> "Somebody":
        self.client.__enter__()
        return self

    def __exit__(self, *how: Any) -> None:
        self.client.__exit__(*how)

    def does(self, call: str, *path: Any, body: Any = None, **options: Any) -> Any:
        """What a call answers: `tasks.route_task` is a module of it."""
        answer = part(f"api.{call}").sync_detailed(
            *path, client=self.client, **({} if body is None else {"body": body}), **options
        )
        return answer.parsed


def part(name: str) -> ModuleType:
    return importlib.import_module(f"{NAME}.{name}")


def body(name: str, **fields: Any) -> Any:
    """A body of this type, from JSON."""
    return getattr(part("models"), name).from_dict(fields)


def test_it_is_generated_whole_and_performs_the_story(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "WARNING" not in generated(made)
    monkeypatch.syspath_prepend(str(made))
    monkeypatch.setenv("no_proxy", "*")
    with (
        serving() as base,
        Somebody(base, token("mona", agent_roles="manager")) as mona,
        Somebody(base, token("finn")) as finn,
        Somebody(base, token("petra", "approver", "manager")) as petra,
    ):
        work = {"task_type": "invoices", "description": "Check the invoices.", "data": {"invoices": 41}}
        routing = body("RouteBody", target="finance", task=work, context={"quarter": "Q4"})
        sent = mona.does("tasks.route_task", body=routing, idempotency_key="october")
        assert mona.does("tasks.route_task", body=routing, idempotency_key="october").task_id == sent.task_id

        question = body("RequestBody", task_id=str(sent.task_id), approver_role="manager", action=ACTION)
        asked = mona.does("approvals.request_or_decide_approval", body=question)
        assert finn.does("tasks.claim_tasks", body=body("ClaimBody")).tasks == []
        agreed = petra.does("approvals.approve_approval", asked.approval_id, body=body("CommentsBody", comments="Yes."))
        assert (agreed.status, agreed.decisions[0].comments) == ("approved", "Yes.")

        [held] = finn.does("tasks.claim_tasks", body=body("ClaimBody", lease_seconds=60, wait_seconds=5)).tasks
        beat = body("HeartbeatBody", lease_token=held.lease.token, progress={"percent": 50})
        assert finn.does("tasks.heartbeat_task", held.task_id, body=beat).cancel_requested is False
        used = mona.does("approvals.consume_approval", asked.approval_id, body=body("ConsumeBody", action=ACTION))
        assert used.consumed_at is not None
        wrong = finn.does("tasks.complete_task", held.task_id, body=body("CompleteBody", lease_token="none"))
        assert (type(wrong).__name__, wrong.status) == ("LeaseLostProblem", 409)
        done = body("CompleteBody", lease_token=held.lease.token, output={"unpaid": 3})
        assert finn.does("tasks.complete_task", held.task_id, body=done).status == "completed"

        told = mona.does("tasks.get_task", sent.task_id)
        assert (told.status, told.output.to_dict(), told.trace_id) == ("completed", {"unpaid": 3}, sent.trace_id)
        unknown = mona.does("tasks.get_task", UUID(int=0))
        assert type(unknown).__name__ == "NotFoundProblem"
    assert Task.objects.get().output == {"unpaid": 3}
    assert Approval.objects.get().consumed_at is not None
