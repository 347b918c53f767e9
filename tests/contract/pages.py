"""Pages of the documentation: their sections and tables, and the calls that those of the API show."""

import re

from rest_framework.routers import SimpleRouter

from sessions_app.urls import router
from tests.contract.shown import snippets
from tests.gunicorn_server import HERE

_NAMES = {"lookup": "{id}", "trailing_slash": ""}


def page(path: str) -> str:
    """The text of a page."""
    return (HERE / path).read_text(encoding="utf-8")


def section(document: str, title: str) -> str:
    """What stands under a heading, up to the next of its kind."""
    return document.split(f"\n## {title}\n")[1].partition("\n## ")[0]


def table(text: str) -> list[list[str]]:
    """The cells of a Markdown table, without its head."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


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
    """What a link within the page may lead to: its headings, as GitHub writes them in an address."""
    titles = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def prose(document: str) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", document, flags=re.MULTILINE | re.DOTALL)
