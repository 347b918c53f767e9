"""Every page of the documentation: its links lead somewhere, its snippets are run, and the index names it."""

import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.contract.pages import anchors, page, prose
from tests.contract.shown import snippets
from tests.gunicorn_server import HERE

LINK = re.compile(r"\]\(([^)\s]*)\)")
RUN_BY = {
    "README.md": "tests/contract/test_readme.py",
    "docs/api/README.md": "tests/contract/test_docs_sessions.py",
    "docs/api/approvals.md": "tests/contract/test_docs_approvals.py",
    "docs/api/audit.md": "tests/contract/test_docs_audit.py",
    "docs/api/sessions.md": "tests/contract/test_docs_sessions.py",
    "docs/api/tasks.md": "tests/contract/test_docs_tasks.py",
    "docs/approvals.md": "tests/contract/test_docs_trail.py",
    "docs/audit.md": "tests/contract/test_docs_trail.py",
    "docs/deploying.md": "tests/deploy/test_deploying.py",
    "docs/guides/auditing.md": "tests/contract/test_guides.py",
    "docs/guides/first-approval.md": "tests/contract/test_guides.py",
    "docs/idempotency.md": "tests/contract/test_docs_idempotency.py",
    "docs/operations.md": "tests/contract/test_docs_sessions.py",
    "docs/upgrading.md": "tests/contract/test_guides.py",
}
"""Which tests run the snippets of a page."""


def pages() -> list[str]:
    """The path of every page in the checkout."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    found = subprocess.run(listed, cwd=HERE, check=True, capture_output=True, encoding="utf-8").stdout.splitlines()
    return sorted(path for path in found if (HERE / path).is_file())


PAGES = pages()


@pytest.mark.parametrize("path", PAGES)
def test_each_link_leads_somewhere(path: str) -> None:
    text = prose(page(path))
    assert [link for link in LINK.findall(text) if not leads_somewhere(link, HERE / path)] == []


def leads_somewhere(link: str, source: Path) -> bool:
    """Whether a link of this page leads to a file, or a heading of one. An address elsewhere needs but be one."""
    if link.startswith("http"):
        parts = urlsplit(link)
        return parts.scheme == "https" and bool(parts.hostname)
    name, _, anchor = link.partition("#")
    target = source.parent / name if name else source
    return target.exists() and (not anchor or anchor in anchors(target.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "link", ["gone.md", "operations.md#gone", "#gone", "http://example.org", "https://", "operations.md#the-seals"]
)
def test_a_link_that_leads_nowhere_is_noticed(link: str) -> None:
    assert not leads_somewhere(link, HERE / "docs/audit.md")


@pytest.mark.parametrize("link", ["adr", "operations.md#after-a-restore", "#keys", "https://example.org/a#b"])
def test_a_link_that_leads_somewhere_passes(link: str) -> None:
    assert leads_somewhere(link, HERE / "docs/audit.md")


def test_the_snippets_of_every_page_are_run() -> None:
    """By a test that names the page and compares what each prints with what is shown."""
    assert sorted(RUN_BY) == [path for path in PAGES if snippets(page(path))]
    for path, test in RUN_BY.items():
        source = (HERE / test).read_text(encoding="utf-8")
        assert path in source or f'"{Path(path).name}"' in source, test
        assert "assert_like" in source or "assert_answers_as_shown" in source, test


@pytest.mark.parametrize("path", PAGES)
def test_each_block_of_code_says_what_it_is(path: str) -> None:
    """`sh` and `python` are run; nothing else looks like a command to paste, but for what starts everything."""
    assert re.findall(r"^ +```", page(path), re.MULTILINE) == []
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page(path), re.MULTILINE | re.DOTALL)
    assert {kind for kind, _ in blocks} <= {"sh", "python", "http", "json", "text", "yaml", "mermaid", ""}
    plain = [text for kind, text in blocks if not kind]
    assert [text for text in plain if not re.fullmatch(r"(make [\w-]+|manage\.py \w+ .*)\n", text)] == []


def test_the_index_names_every_page() -> None:
    index = HERE / "docs/README.md"
    links = [link.partition("#")[0] for link in LINK.findall(page("docs/README.md")) if "//" not in link]
    named = {(index.parent / link).resolve() for link in links}
    assert {path for path in PAGES if (HERE / path).resolve() not in named} == {"docs/README.md"}


def test_the_index_names_each_decision_by_its_title() -> None:
    flags = re.MULTILINE | re.DOTALL
    told = dict(re.findall(r"^- \[\d+\]\((adr/\S+)\) (.+?)(?=\n-|\n\n|\Z)", page("docs/README.md"), flags))
    titles = {f"adr/{path.name}": page(f"docs/adr/{path.name}") for path in (HERE / "docs/adr").glob("*.md")}
    assert {name: " ".join(title.split()) for name, title in told.items()} == {
        name: text.partition("\n")[0].partition(". ")[2] for name, text in titles.items()
    }
