"""Pages of the API's documentation: their tables, their snippets, and what those answer."""

import re
import subprocess
from collections.abc import Iterator

from rest_framework.routers import SimpleRouter

from sessions_app.urls import router
from tests.contract.test_readme import BLOCK, MARK, assert_answered, assert_like, section, table
from tests.gunicorn_server import HERE, environment

_NAMES = {"lookup": "{id}", "trailing_slash": ""}


def page(path: str) -> str:
    """The text of a page."""
    return (HERE / path).read_text(encoding="utf-8")


def snippets(document: str) -> list[tuple[str, str, str]]:
    """Each snippet with the kind and the text of what is shown right after it. Text that follows none is no answer."""
    blocks = BLOCK.findall(document)
    following = zip(blocks, [*blocks[1:], ("", "")], strict=True)
    return [(snippet, kind, shown) for (first, snippet), (kind, shown) in following if first == "sh"]


def assert_answers_as_shown(document: str, base: str, **env: str) -> None:
    """Run the snippets of a page in one shell, and compare what each prints with what is shown after it."""
    for snippet, kind, shown, real in _run(document, base, **env):
        if kind == "http":
            assert_answered(shown, real, snippet)
        else:
            assert_like(shown.splitlines(), real.splitlines(), snippet)


def _run(document: str, base: str, **env: str) -> Iterator[tuple[str, str, str, str]]:
    parts = snippets(document)
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


def method(snippet: str) -> str:
    """The method of a snippet's last call: curl posts where there is a body and nothing else is said."""
    last = snippet[snippet.rindex("curl") :]
    said = re.search(r"-X (\w+)", last)
    return said[1] if said else "POST" if re.search(r" -d ['\"]\{", last) else "GET"


def statuses(document: str) -> set[tuple[str, str]]:
    """The method of each call whose whole answer is shown, and the status of that."""
    return {(method(snippet), text.split()[1]) for snippet, kind, text in snippets(document) if kind == "http"}


def calls(document: str) -> set[tuple[str, str]]:
    """The calls that the first table of a page names."""
    return set(re.findall(r"^\| \[`(\w+) (\S+)`\]", document, re.MULTILINE))


def calls_there_are(noun: str, paths: SimpleRouter = router, before: str = "") -> set[tuple[str, str]]:
    """The calls on a noun that the service has."""
    [viewset] = [viewset for prefix, viewset, _ in paths.registry if prefix == noun]
    return {
        (verb.upper(), route.url.translate(str.maketrans("", "", "^$")).format(prefix=f"{before}/{noun}", **_NAMES))
        for route in paths.get_routes(viewset)
        for verb in route.mapping
        if hasattr(viewset, route.mapping[verb])
    }


def fields(document: str, title: str) -> list[str]:
    """The fields that the first table of a section names."""
    return _names(section(document, title), "field")


def parameters(document: str, title: str) -> list[str]:
    """The query parameters that the first table of a section names."""
    first = section(document, title).partition("| parameter |")[2].partition("\n\n")[0]
    return [row[0].strip("`") for row in table("| parameter |" + first)]


def _names(text: str, head: str) -> list[str]:
    first = text.partition(f"| {head} |")[2].partition("\n\n")[0]
    return [name for row in table(f"| {head} |" + first) for name in re.findall(r"`(\w+)`", row[0])]


def refusals(document: str) -> list[tuple[str, str]]:
    """The status and the kind of each refusal that the tables name."""
    return re.findall(r"^\| (4\d\d) \| `([a-z-]+)` \|", document, re.MULTILINE)


def anchors(document: str) -> set[str]:
    """What a link within the page may lead to."""
    return {title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.+)$", document, re.MULTILINE)}
