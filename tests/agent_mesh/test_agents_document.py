"""docs/agents.md: its tables name what there is, and its snippets do what they show, as they are written."""

import inspect
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from string import Template
from typing import Any, get_args

import pytest
from mcp import StdioServerParameters
from ruamel.yaml import YAML

from agent_mesh import agreement
from agent_mesh.cli import ending
from agent_mesh.client import Client
from agent_mesh.shapes import ApprovalStatus
from tests.agent_mesh.talking import mesh, talking
from tests.agent_mesh.test_cli import every_command
from tests.api import token
from tests.contract.pages import page, section, table
from tests.contract.shown import BLOCK
from tests.gunicorn_server import HERE, serving

PAGE = page("docs/agents.md")
SHOWN = "http://127.0.0.1:8088"
SHOWN_PYTHON = "/home/you/agent-mesh/bin/python"


def blocks(kind: str) -> list[str]:
    return [text for found, text in BLOCK.findall(PAGE) if found == kind]


@pytest.mark.django_db(transaction=True)
def test_the_table_of_tools_is_the_servers() -> None:
    rows = table("| tool |" + PAGE.partition("| tool |")[2].partition("\n\n")[0])
    said = {row[0].strip("`"): re.findall(r"`(\w+\??)`", row[1]) for row in rows}
    with mesh() as alice:
        tools = alice.tools()
    assert list(said) == list(tools)
    for name, tool in tools.items():
        needed = tool.input_schema.get("required", [])
        optional = [f"{one}?" for one in tool.input_schema["properties"] if one not in needed]
        assert sorted(said[name]) == sorted([*needed, *optional])


def test_every_variable_that_is_read_is_told_and_no_other() -> None:
    sources = "".join(path.read_text("utf-8") for path in (HERE / "agent_mesh").rglob("*.py"))
    read = set(re.findall(r'"(CONTROLLER_URL|MESH_[A-Z_]+)"', sources))
    told = set(re.findall(r"`(CONTROLLER_URL|MESH_[A-Z_]+)`", PAGE))
    assert told == read


def test_the_table_of_commands_is_the_programs() -> None:
    rows = table("| command |" + PAGE.partition("| command |")[2].partition("\n\n")[0])
    told = set()
    for row in rows:
        group = ""
        for name in re.findall(r"`([a-z -]+)`", row[0]):
            group, _, last = name.rpartition(" ") if " " in name else (group, "", name)
            told.add(tuple(f"{group} {last}".split()))
    assert told == set(every_command())


def test_the_exit_codes_are_the_programs() -> None:
    rows = table("| exit code |" + PAGE.partition("| exit code |")[2].partition("\n\n")[0])
    codes = {value for name, value in vars(ending).items() if name.isupper() and isinstance(value, int)}
    assert {int(row[0]) for row in rows} == {0, *codes}


def commands() -> Iterator[tuple[str, dict[str, Any]]]:
    """What each configuration over stdio starts, and with which environment; goose adds what `env_keys` names."""
    goose = YAML(typ="safe").load(blocks("yaml")[0])["extensions"]["agent_mesh"]
    keys = dict.fromkeys(goose["env_keys"], "${TOKEN}")
    yield "goose", {"command": goose["cmd"], "args": goose["args"], "env": {**goose["envs"], **keys}}
    [claude] = json.loads(blocks("json")[0])["mcpServers"].values()
    yield "Claude", claude


def test_each_configuration_starts_the_python_that_it_was_installed_for() -> None:
    assert 'python3 -m venv "$HOME/agent-mesh"' in blocks("text")[0]
    assert {said["command"] for _, said in commands()} == {SHOWN_PYTHON}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("whose", "said"), list(commands()), ids=lambda value: value if isinstance(value, str) else "")
def test_a_configuration_works_as_it_is_written(whose: str, said: dict[str, Any]) -> None:
    with serving() as base:
        known = {"TOKEN": token("alice", roles="agent,operator")}
        env = {name: Template(value).substitute(known).replace(SHOWN, base) for name, value in said["env"].items()}
        # Where agent_mesh is installed: here, that is in this environment and this folder.
        python = said["command"].replace(SHOWN_PYTHON, sys.executable)
        server = StdioServerParameters(command=python, args=said["args"], env=env, cwd=HERE)
        with talking(server) as alice:
            sent = alice.does("send_task", target="finance", task={"task_type": "invoices"})
            assert alice.does("fetch_status", task_id=sent["task_id"])["status"] == "pending"


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_python_does_what_it_shows() -> None:
    bearer = token("alice", roles="agent,operator,auditor")
    parts = BLOCK.findall(section(PAGE, "The client") + section(PAGE, "A worker"))
    scripts = list(zip(parts[::2], parts[1::2], strict=True))
    assert [(kind, shown) for (kind, _), (shown, _) in scripts] == [("python", "text")] * 3
    with serving() as base, Approving(base):
        for (_, script), (_, shown) in scripts:
            done = subprocess.run(
                [sys.executable, "-c", script.replace(SHOWN, base)],
                cwd=HERE,
                env={**os.environ, "TOKEN": bearer, "no_proxy": "*"},
                capture_output=True,
                check=False,
                encoding="utf-8",
                timeout=60,
            )
            assert (done.stdout, done.stderr) == (shown, "")


class Approving:
    """Mona, a manager, who approves what awaits her while the block runs."""

    def __init__(self, base: str) -> None:
        self._mona, self._over = Client(base, token("mona", "approver", "manager")), threading.Event()
        self._thread = threading.Thread(target=self._approve)

    def _approve(self) -> None:
        while not self._over.wait(0.1):
            for approval in self._mona.approvals.walk(assignee="me", status="pending"):
                self._mona.approvals.approve(approval["approval_id"])

    def __enter__(self) -> "Approving":
        self._thread.start()
        return self

    def __exit__(self, *how: object) -> None:
        self._over.set()
        self._thread.join()
        self._mona.close()


def test_an_act_is_gated_by_one_call_in_at_most_five_lines() -> None:
    [shown] = [text for text in blocks("python") if ".approved(" in text]
    gate = shown.partition("orchestrator:\n")[2].splitlines()
    assert (sum("orchestrator." in line for line in gate), len(gate) <= 5) == (1, True)
    assert shown in page("docs/guides/first-approval.md")


def test_every_outcome_that_a_request_may_have_is_explained() -> None:
    rows = table("| `outcome` |" + PAGE.partition("| `outcome` |")[2].partition("\n\n")[0])
    explained = {outcome for row in rows for outcome in re.findall(r"`([a-z-]+)`", row[0])}
    assert explained >= {*get_args(ApprovalStatus), *agreement._OUTCOMES.values(), "already-requested"} - {"approved"}


def test_every_argument_of_the_gate_is_explained() -> None:
    rows = table("| argument |" + PAGE.partition("| argument |")[2].partition("\n\n")[0])
    explained = {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert explained == set(inspect.signature(Client.approved).parameters) - {"self", "action", "approver_role"}
