"""manage.py list_problems: docs/problems.md, written from the classes of the refusals."""

import inspect
from typing import ClassVar

from orchestrator.catalogue import catalogue
from orchestrator.generated import GeneratedPage
from orchestrator.problem_schemas import MEMBERS, sample
from orchestrator.problems import Problem

HEAD = """\
# Refusals

Every refusal is `application/problem+json` (RFC 9457), and its `type` is `/problems/` and one of these names: the
service shows each under that path too, without a token. What all of them have, and the order in which they are judged,
stands in [the API](api/README.md#what-every-refusal-has).

Written from the classes by `manage.py list_problems`; to change it, change a class and run that again.
"""


class Command(GeneratedPage):
    """The catalogue as a page."""

    help = "Write docs/problems.md from the classes of the refusals."
    page: ClassVar[str] = "docs/problems.md"
    source: ClassVar[str] = "classes"

    def document(self) -> str:
        """An overview, and a section for each kind."""
        rows = [f"| {kind.status} | [`{kind.slug}`](#{kind.slug}) | {kind.title} |" for kind in catalogue()]
        table = "\n".join(["| status | name | title |", "|---|---|---|", *rows])
        return "\n".join([HEAD, f"{table}\n", *map(section, catalogue())])


def section(kind: type[Problem]) -> str:
    """What is told of one kind."""
    said = inspect.cleandoc(kind.__doc__ or "")
    parts = [f"## {kind.slug}", f"**{kind.status}: {kind.title}.**", said, *_besides(kind)]
    return "\n\n".join(parts) + "\n"


def _besides(kind: type[Problem]) -> list[str]:
    """What it has beyond what every refusal has."""
    members = [f"`{name}`" for name in MEMBERS.get(kind, {})]
    headers = [f"the header `{name}`" for name in sample(kind).headers]
    return [f"Besides: {', '.join([*members, *headers])}."] if members or headers else []
