"""What a page shows of a snippet, and whether that is what the snippet prints."""

import json
import re
import subprocess
from dataclasses import dataclass
from typing import Any

from orchestrator import roles
from tests.database import address
from tests.gunicorn_server import HERE, environment

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "-- the next snippet --"


def snippets(document: str) -> list[tuple[str, str, str]]:
    """Each snippet with the kind and the text of what is shown right after it. Text that follows none is no answer."""
    blocks = BLOCK.findall(document)
    following = zip(blocks, [*blocks[1:], ("", "")], strict=False)
    return [(snippet, kind, shown) for (first, snippet), (kind, shown) in following if first == "sh"]


@dataclass(frozen=True)
class Answer:
    """An answer as `curl -i` prints it, or as a page shows it: there with some of its headers."""

    status: str
    headers: dict[str, str]
    body: str

    @classmethod
    def read(cls, text: str) -> "Answer":
        head, _, body = text.replace("\r\n", "\n").strip().partition("\n\n")
        status, *lines = head.split("\n")
        return cls(status, dict(line.split(": ", 1) for line in lines), body)


def assert_like(shown: Any, real: Any, place: str) -> None:
    """`…` stands for what differs each time, within a text; everything else is as it is shown."""
    if isinstance(shown, str) and isinstance(real, str):
        pattern = ".+".join(re.escape(part) for part in shown.split("…"))
        assert re.fullmatch(pattern, real), f"{place}: {real!r} is not {shown!r}"
    elif isinstance(shown, dict) and isinstance(real, dict):
        assert list(shown) == list(real), place
        for name, value in shown.items():
            assert_like(value, real[name], f"{place}: {name}")
    elif isinstance(shown, list) and isinstance(real, list):
        assert len(shown) == len(real), f"{place}: {real} is not {shown}"
        for one, other in zip(shown, real, strict=True):
            assert_like(one, other, place)
    else:
        assert (type(shown), shown) == (type(real), real), place


def assert_answered(shown: str, real: str, snippet: str) -> None:
    """The status, the headers that are shown and the whole body."""
    expected, answer = Answer.read(shown), Answer.read(real)
    assert_like(expected.status, answer.status, snippet)
    for name, value in expected.headers.items():
        assert_like(value, answer.headers.get(name), f"{snippet}: {name}")
    if expected.body:
        assert_like(json.loads(expected.body), json.loads(answer.body), snippet)
    else:
        assert answer.body == ""


def assert_answers_as_shown(document: str, base: str, **env: str) -> None:
    """Run the snippets of a page in one shell, and compare what each prints with what is shown after it."""
    parts = snippets(document)
    printed = printed_by([snippet for snippet, _, _ in parts], base, **env)
    for (snippet, kind, shown), real in zip(parts, printed, strict=True):
        if kind == "http":
            assert_answered(shown, real, snippet)
        else:
            assert_like(shown.splitlines(), real.splitlines(), snippet)


def printed_by(scripts: list[str], base: str, **env: str) -> list[str]:
    """What each of several snippets prints, run one after the other in one shell, from the folder of the checkout."""
    script = f"echo '{MARK}'\n".join(scripts)
    done = subprocess.run(
        ["sh", "-c", script.replace("http://127.0.0.1:8088", base)],
        cwd=HERE,
        env={
            **environment(),
            "WORKER_DATABASE_URL": roles.acting_as(address(), roles.WORKER),
            "no_proxy": "*",
            **env,
        },
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout.split(f"{MARK}\n")
