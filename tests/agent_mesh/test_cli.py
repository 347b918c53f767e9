"""The command line on the service itself: what it shows, prints as JSON, and ends with."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from agent_mesh import __version__
from agent_mesh.cli import trail
from agent_mesh.cli.app import app, main
from agent_mesh.client import Client
from agent_mesh.environment import Environment
from agent_mesh.tokens import TokenSource
from sessions_app.models import Approval, Session, Task
from tests.agent_mesh.in_process import BASE, Meddle, Waits, Wire, client, lost, problem, refused
from tests.api import token
from tests.sessions_app.approval_calls import ACTION, agree, ask, refuse
from tests.sessions_app.session_calls import UNKNOWN_ID, session_in
from tests.sessions_app.task_calls import claimed, routed, task_in

pytestmark = pytest.mark.django_db(transaction=True)
OPERATOR = {"roles": "agent,operator,auditor"}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command as alice, or with the token in `bearer`: how it ends, stdout, stderr."""
    wire = Wire()
    retry = Environment({}).client(None).tasks._connection._retry

    def reached(_self: Environment, tokens: TokenSource | None) -> Client:
        return Client(BASE, tokens, transport=wire, retry=type(retry)(sleep=Waits()))

    monkeypatch.setattr(Environment, "client", reached)

    def command(
        *words: str, bearer: str | None = None, away: bool = False, meddle: Sequence[Meddle] = ()
    ) -> tuple[int, str, str]:
        monkeypatch.setenv("MESH_JWT_TOKEN", token() if bearer is None else bearer)
        monkeypatch.setattr(sys, "argv", ["orchestrator", *map(str, words)])
        wire.before, wire.sent = ([refused] * 9 if away else list(meddle)), []
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return (0 if code is None else int(code)), out, err

    return command


def said(run: Run, *words: str, **options: Any) -> Any:
    """What a command prints as JSON, which succeeds."""
    code, out, err = run(*words, "--json", **options)
    assert (code, err) == (0, "")
    return json.loads(out)


def test_a_session_is_opened_listed_shown_moved_and_deleted(run: Run) -> None:
    opened = said(run, "sessions", "open", "finance", "--metadata", '{"quarter": "Q4"}', "--ttl", "3600")
    row = opened["session_id"]
    assert opened["metadata"] == {"quarter": "Q4"}
    assert [one["session_id"] for one in said(run, "sessions", "list", "--status", "pending,active")] == [row]
    assert said(run, "sessions", "show", row)["status"] == "pending"
    assert said(run, "sessions", "move", row, "active", "--reason", "so", "--version", "1")["status"] == "active"
    said(run, "sessions", "move", row, "completed")
    deleted = said(run, "sessions", "delete", row, "--reason", "so", bearer=token("olga", **OPERATOR))
    assert deleted == {"deleted": row}
    assert not Session.objects.exists()


def test_a_task_is_sent_once_under_a_key(run: Run) -> None:
    words = ("tasks", "send", "hr", "leave", "Hans is away.", "--data", '{"days": 3}', "--key", "mine")
    assert said(run, *words) == said(run, *words)
    task = Task.objects.get()
    assert (task.to_role, task.task_type, task.description, task.data) == ("hr", "leave", "Hans is away.", {"days": 3})
    assert [one["task_id"] for one in said(run, "tasks", "list", "--to", "hr", "--type", "leave")] == [str(task.pk)]
    assert said(run, "tasks", "show", f"task-{task.pk}")["attempts"] == []
    assert said(run, "tasks", "cancel", str(task.pk), "--reason", "He is back.")["status"] == "cancelled"


def test_operators_take_retry_and_delete_tasks(run: Run) -> None:
    olga = {"bearer": token("olga", **OPERATOR)}
    held, failed = claimed().task, task_in("failed")
    freed = said(run, "tasks", "force-release", str(held.pk), "--reason", "It hangs.", **olga)
    assert freed["status"] == "pending"
    assert said(run, "tasks", "retry", str(failed.pk), **olga)["retry_of"] == str(failed.pk)
    over = task_in("completed")
    assert said(run, "tasks", "delete", str(over.pk), "--reason", "so", **olga) == {"deleted": str(over.pk)}


def test_waiting_ends_with_how_the_task_ended(run: Run) -> None:
    for state, code in (("completed", 0), ("failed", 6), ("cancelled", 6)):
        ended, out, _ = run("tasks", "wait", str(task_in(state).pk), "--json")
        assert (ended, json.loads(out)["status"]) == (code, state)
    ended, out, _ = run("tasks", "wait", str(routed().pk), "--for", "0", "--json")
    assert (ended, json.loads(out)["status"]) == (7, "pending")


def test_approvers_find_their_inbox_and_decide(run: Run) -> None:
    first, second = ask(action=ACTION), ask()
    petra = {"bearer": token("petra", "approver", "manager")}
    assert {one["approval_id"] for one in said(run, "inbox", **petra)} == {str(first.pk), str(second.pk)}
    assert said(run, "approve", str(first.pk), "--comments", "Checked.", **petra)["status"] == "approved"
    assert said(run, "reject", str(second.pk), **petra)["status"] == "rejected"
    code, _, err = run("inbox", **petra)
    assert (code, "Nothing awaits you." in err) == (0, True)


def test_agents_ask_and_call_off(run: Run) -> None:
    task = routed()
    asked = said(run, "approvals", "request", str(task.pk), "manager", "--action", '{"amount": 1}', "--people", "2")
    assert Approval.objects.get().required_approvals == 2
    assert [one["status"] for one in said(run, "approvals", "list", "--task", str(task.pk))] == ["pending"]
    assert said(run, "approvals", "show", asked["approval_id"])["action"] == {"amount": 1}
    assert said(run, "approvals", "cancel", asked["approval_id"])["status"] == "cancelled"


def test_agents_ask_about_an_action_without_a_task(run: Run) -> None:
    session = str(session_in("active").pk)
    words = ("manager", "--action", '{"amount": 1}', "--session", session, "--use-within", "600", "--expires-in", "60")
    asked = said(run, "approvals", "request", *words)
    assert (asked["kind"], asked["task_id"], asked["session_id"]) == ("action", None, session)
    assert [one["approval_id"] for one in said(run, "approvals", "list", "--session", session)] == [
        asked["approval_id"]
    ]
    code, out, _ = run("approvals", "request", *words, "--json")
    assert (code, json.loads(out)["error"], json.loads(out)["approval_id"]) == (
        *(1, "already-requested"),
        asked["approval_id"],
    )
    assert run("approvals", "request", "manager")[0] == 2


def test_operators_reopen_and_replace_requests(run: Run) -> None:
    olga = {"bearer": token("olga", **OPERATOR)}
    rejected = refuse(ask(claimed().task, action=ACTION))
    words = (str(rejected.task_id), "manager", "--action", json.dumps(ACTION), "--reason", "New offer.")
    opened = said(run, "approvals", "request", *words, "--reopens", str(rejected.pk), **olga)
    assert opened["reopens"] == str(rejected.pk)
    assert [one["outcome"] for one in opened["earlier"]] == ["rejected"]
    undecidable = ask(claimed().task, approver_role="cfo", action=ACTION)
    others = (str(undecidable.task_id), "manager", "--reason", "No CFO is known.")
    replaced = said(run, "approvals", "request", *others, "--replaces", str(undecidable.pk), **olga)
    assert (replaced["replaces"], replaced["action"]) == (str(undecidable.pk), ACTION)


def test_a_decision_is_withdrawn_and_the_list_shows_what_was_set_aside(run: Run) -> None:
    refuse(ask(held := claimed().task, action={"amount": 2}))
    approval = ask(held, action=ACTION, required_approvals=2)
    petra = {"bearer": token("petra", "approver", "manager")}
    said(run, "approve", str(approval.pk), **petra)
    left = said(run, "approvals", "withdraw", str(approval.pk), "--comments", "Wrong offer.", **petra)
    assert [one["set_aside_reason"] for one in left["decisions"]] == ["withdrawn"]
    code, out, _ = run("inbox", **petra)
    assert code == 0
    shown = " ".join(out.split())
    assert "0 of 2, 1 set aside" in shown.replace("  ", " ")
    assert ("1 rejected" in shown, "Hansen Tools" in shown, "task" in shown) == (True, True, True)


def test_the_inbox_says_in_one_line_that_the_token_may_not_decide(run: Run) -> None:
    ask()
    code, _, err = run("inbox", bearer=token("petra", "approver", "manager", client="chat"))
    assert (code, err.count("\n")) == (0, 1)
    assert "You see 1 open requests that this token may not decide" in err


def test_a_deletion_that_a_second_person_has_to_approve_ends_with_8(run: Run, settings: Any) -> None:
    settings.DELETE_NEEDS_SECOND_PERSON = True
    words = ("tasks", "delete", str(task_in("completed").pk), "--reason", "Made by mistake.", "--json")
    olga = {"bearer": token("olga", **OPERATOR)}
    code, out, err = run(*words, **olga)
    assert (code, json.loads(out)["status"], "run the same command again" in err) == (8, "pending", True)
    agree(Approval.objects.get())
    code, out, _ = run(*words, **olga)
    assert (code, json.loads(out)) == (0, {"deleted": words[2]})
    assert run("tasks", "delete", UNKNOWN_ID, "--reason", " ", **olga)[0] == 2


def test_the_trail_is_shown_the_newest_last(run: Run) -> None:
    session = session_in("active")
    auditor = {"bearer": token("ada", "auditor", "")}
    code, out, _ = run("audit", "tail", "--subject", str(session.pk), **auditor)
    assert code == 0
    assert [line.split("  ")[1] for line in out.splitlines()] == ["session.created", "session.activated"]
    code, out, _ = run("audit", "tail", "--subject", str(session.pk), "-n", "1", "--json", **auditor)
    assert [json.loads(line)["event_type"] for line in out.splitlines()] == ["session.activated"]


def test_following_tells_what_comes_once_and_nothing_of_before() -> None:
    session_in("active")
    auditor = client(token("ada", "auditor", ""))
    followed = trail._following(auditor, auditor.audit.page(1, 1)["events"], 0.01, {})
    for _ in range(2):
        later = session_in("pending")
        event = next(followed)
        assert (event["event_type"], event["subject_id"]) == ("session.created", str(later.pk))


def test_the_trail_is_exported_to_a_file(run: Run, tmp_path: Path) -> None:
    session = session_in("active")
    file = tmp_path / "trail.ndjson"
    code, out, _ = run(
        "audit", "export", "--output", str(file), "--subject", str(session.pk), bearer=token("ada", "auditor", "")
    )
    assert (code, out) == (0, "")
    told = [json.loads(line)["event_type"] for line in file.read_text("utf-8").splitlines()]
    assert told == ["session.created", "session.activated"]


def test_people_are_shown_tables_and_no_commands_to_their_terminal(run: Run) -> None:
    routed(description="[red]Look\x1b[2J", task_type="invoices")
    code, out, _ = run("tasks", "list", "--to", "finance")
    assert code == 0
    assert out.splitlines()[0].split() == [
        *("task", "id", "status", "task", "type", "from", "role", "to", "role", "priority", "attempt", "updated", "at"),
    ]
    _, out, _ = run("tasks", "show", str(Task.objects.get().pk))
    assert "[red]Look�[2J" in out
    assert "\x1b" not in out


def test_what_is_agreed_to_is_shown_as_it_is_and_not_as_it_would_paint_itself(run: Run) -> None:
    action = {"pay": "Jørgen \u202e000,1\u202c", "to": "\x9b2J\U000e0041"}
    approval = ask(action=action)
    _, table, _ = run("approvals", "show", str(approval.pk))
    _, document, _ = run("approvals", "show", str(approval.pk), "--json")
    for out in (table, document):
        assert all(char.isprintable() or char == "\n" for char in out)
        assert "Jørgen \\u202e000,1" in out
    assert json.loads(document)["action"] == action


def test_the_health_of_the_service_needs_no_token(run: Run) -> None:
    assert said(run, "status", bearer="")["status"] in ("healthy", "degraded")


ENDS: dict[str, tuple[tuple[str, ...], dict[str, Any], int, str]] = {
    "refused": (("sessions", "move", "{completed}", "active"), {}, 1, "illegal-transition"),
    "forbidden": (("sessions", "delete", "{completed}", "--reason", "so"), {}, 1, "forbidden"),
    "wrong use": (("tasks", "show", "abc"), {}, 2, "invalid-request"),
    "an empty id": (("tasks", "show", ""), {}, 2, "ValueError"),
    "away": (("tasks", "list"), {"away": True}, 3, "Unreachable"),
    "no such thing": (("tasks", "show", UNKNOWN_ID), {}, 4, "not-found"),
    "a bad token": (("tasks", "list"), {"bearer": "no.such.token"}, 5, "unauthenticated"),
    "no token": (("tasks", "list"), {"bearer": ""}, 5, "NoToken"),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_failure_ends_with_its_code_and_says_why(run: Run, how: str) -> None:
    words, options, code, kind = ENDS[how]
    completed = str(session_in("completed").pk)
    ended, out, err = run(*(word.replace("{completed}", completed) for word in words), "--json", **options)
    assert (ended, json.loads(out)["error"]) == (code, kind)
    assert err.startswith("orchestrator: ")
    assert "Traceback" not in err


def test_the_key_is_told_where_nobody_knows_whether_it_was_done(run: Run) -> None:
    words = ("tasks", "send", "hr", "leave")
    code, out, err = run(*words, "--json", meddle=[lost, busy := problem(429, "too-many-requests"), busy])
    key = json.loads(out)["idempotency_key"]
    assert (code, f"--key {key} is done once" in err) == (3, True)
    assert said(run, *words, "--key", key) == said(run, *words, "--key", key)
    _, out, err = run(*words, "--json", meddle=[busy] * 3)
    assert ("idempotency_key" in json.loads(out), "--key" in err) == (False, False)


@pytest.mark.parametrize(
    "words",
    [
        ("tasks", "send", "hr"),
        ("tasks", "send", "hr", "leave", "--data", "[1]"),
        ("tasks", "send", "hr", "leave", "--data", "{"),
        ("tasks", "list", "--count", "1000"),
        ("nonsense",),
    ],
)
def test_words_that_make_no_command_are_wrong_use(run: Run, words: tuple[str, ...]) -> None:
    code, out, _ = run(*words)
    assert (code, out) == (2, "")


def test_the_version_is_told(run: Run) -> None:
    assert run("version")[:2] == (0, f"{__version__}\n")


def commands(group: Any, before: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}
    for name, command in group.commands.items():
        found |= commands(command, (*before, name)) if hasattr(command, "commands") else {(*before, name): command}
    return found


def every_command() -> dict[tuple[str, ...], Any]:
    """By its words."""
    return commands(get_command(app))


def test_every_command_that_shows_something_has_json_and_every_write_a_key() -> None:
    assert isinstance(app, typer.Typer)
    every = every_command()
    options = {words: {option for one in command.params for option in one.opts} for words, command in every.items()}
    assert {words for words, said in options.items() if "--json" not in said} == {("version",), ("audit", "export")}
    writes = {words for words, said in options.items() if "--key" in said}
    reads = {("inbox",), ("status",), ("version",), ("audit", "tail"), ("audit", "export"), ("tasks", "wait")}
    assert set(options) - writes - reads == {words for words in options if words[-1] in ("list", "show")}
