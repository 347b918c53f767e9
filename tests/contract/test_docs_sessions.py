"""docs/api/sessions.md and docs/operations.md: what they say is so."""

import io
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command, load_command_class

from orchestrator.catalogue import catalogue
from orchestrator.pagination import PARAMETERS
from sessions_app.filters import METADATA, SESSION_FILTERS
from sessions_app.serializers.session import NewSessionBody, SessionBody, SessionPatchBody, session_out
from sessions_app.urls import router
from tests.api import token
from tests.contract.test_readme import BLOCK, LINK, MARK, assert_answered, assert_like, section, table
from tests.gunicorn_server import HERE, environment, serving
from tests.sessions_app.session_calls import overdue_session, session_in

SESSIONS = (HERE / "docs/api/sessions.md").read_text(encoding="utf-8")
OPERATIONS = (HERE / "docs/operations.md").read_text(encoding="utf-8")
NAMES = {"prefix": "/sessions", "lookup": "{id}", "trailing_slash": ""}
DJANGO_OWN = {"help", "version", "verbosity", "settings", "pythonpath", "traceback", "no_color", "force_color"}
DJANGO_OWN |= {"skip_checks"}


def snippets(document: str) -> list[tuple[str, str, str]]:
    """Each snippet with the kind and the text of what is shown right after it. Text that follows none is no answer."""
    blocks = BLOCK.findall(document)
    following = zip(blocks, [*blocks[1:], ("", "")], strict=True)
    return [(snippet, kind, shown) for (first, snippet), (kind, shown) in following if first == "sh"]


def run(base: str, **env: str) -> Iterator[tuple[str, str, str, str]]:
    """Run the API's snippets in one shell: each with the kind and the text of what is shown, and what it printed."""
    parts = snippets(SESSIONS)
    script = f"echo '{MARK}'\n".join(snippet for snippet, _, _ in parts)
    done = subprocess.run(
        ["sh", "-c", script.replace("http://127.0.0.1:8088", base)],
        cwd=HERE,
        env={**environment(), "no_proxy": "*", **env},
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for part, printed in zip(parts, done.stdout.split(f"{MARK}\n"), strict=True):
        yield *part, printed


@pytest.mark.django_db(transaction=True)
def test_each_snippet_of_the_api_answers_as_it_shows() -> None:
    bearer = token("alice", roles="agent,operator,auditor", agent_roles="finance")
    overdue = str(overdue_session("active").id)
    with serving() as base:
        for snippet, kind, shown, real in run(base, TOKEN=bearer, OVERDUE=overdue):
            if kind == "http":
                assert_answered(shown, real, snippet)
            else:
                assert_like(shown.splitlines(), real.splitlines(), snippet)


@pytest.mark.django_db(transaction=True)
def test_each_command_of_operations_says_what_it_shows() -> None:
    session_in("active")
    for state in ("pending", "active", "pending"):
        overdue_session(state)
    for snippet, _, shown in snippets(OPERATIONS):
        said = io.StringIO()
        for line in snippet.splitlines():
            call_command(*shlex.split(line.removeprefix(".venv/bin/python manage.py ")), stdout=said)
        assert said.getvalue() == shown


def test_each_snippet_is_followed_by_what_it_answers() -> None:
    for document in (SESSIONS, OPERATIONS):
        assert {kind for _, kind, _ in snippets(document)} <= {"http", "text"}


def test_the_examples_show_answers_and_refusals_of_every_call() -> None:
    shown = [(method(snippet), text.split()[1]) for snippet, kind, text in snippets(SESSIONS) if kind == "http"]
    assert sorted(set(shown)) == [
        *[("DELETE", status) for status in ("204", "409")],
        *[("GET", status) for status in ("200", "304", "400", "404")],
        ("PATCH", "200"),
        *[("POST", status) for status in ("201", "400", "403")],
        *[("PUT", status) for status in ("200", "409", "412")],
    ]


def method(snippet: str) -> str:
    """The method of a snippet's last call: curl posts where there is a body and nothing else is said."""
    last = snippet[snippet.rindex("curl") :]
    said = re.search(r"-X (\w+)", last)
    return said[1] if said else "POST" if " -d '{" in last else "GET"


def test_has_every_call() -> None:
    there = {
        (verb.upper(), route.url.translate(str.maketrans("", "", "^$")).format(**NAMES))
        for route in router.routes
        for verb in getattr(route, "mapping", {})
    }
    assert set(re.findall(r"^\| \[`(\w+) (\S+)`\]", SESSIONS, re.MULTILINE)) == there


@pytest.mark.django_db(transaction=True)
def test_has_every_field_of_a_session() -> None:
    assert fields("The session") == list(session_out(session_in("pending")))


def fields(title: str) -> list[str]:
    """The fields that the first table of a section names."""
    first = section(SESSIONS, title).partition("| field |")[2].partition("\n\n")[0]
    return [name for row in table("| field |" + first) for name in re.findall(r"`(\w+)`", row[0])]


@pytest.mark.parametrize(
    ("title", "body"), [("Open", NewSessionBody), ("Move and change", SessionBody), ("Patch", SessionPatchBody)]
)
def test_has_every_field_of_a_body(title: str, body: Any) -> None:
    assert sorted(fields(title)) == sorted(body().fields)


def test_has_every_query_parameter() -> None:
    first = section(SESSIONS, "List").partition("| parameter |")[2].partition("\n\n")[0]
    told = [row[0].strip("`") for row in table("| parameter |" + first)]
    assert sorted(told) == sorted([*SESSION_FILTERS, *PARAMETERS, f"{METADATA}<path>"])


def test_names_refusals_that_there_are() -> None:
    known = {(str(kind.status), kind.slug) for kind in catalogue()}
    told = re.findall(r"^\| (4\d\d) \| `([a-z-]+)` \|", SESSIONS, re.MULTILINE)
    assert len(told) > 15
    assert set(told) <= known


@pytest.mark.parametrize("name", ["expire_sessions", "sweep"])
def test_has_every_option_of_a_command(name: str) -> None:
    parser = load_command_class("sessions_app", name).create_parser("manage.py", name)
    there = {action.option_strings[0] for action in parser._actions if action.dest not in DJANGO_OWN}
    options = table("| option |" + OPERATIONS.partition("| option |")[2].partition("\n\n")[0])
    assert {option.strip("`").split()[0] for option, commands, _ in options if f"`{name}`" in commands} == there


@pytest.mark.parametrize("document", ["docs/api/sessions.md", "docs/operations.md"])
def test_each_link_leads_somewhere(document: str) -> None:
    path = HERE / document
    text = path.read_text(encoding="utf-8")
    assert [link for link in LINK.findall(text) if not (path.parent / link).exists()] == []
    anchors = {title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_the_bodies_that_are_shown_are_json() -> None:
    for _, kind, text in snippets(SESSIONS):
        if kind == "http" and "\n\n" in text:
            json.loads(text.partition("\n\n")[2])
