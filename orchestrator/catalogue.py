"""Every kind of refusal there is."""

from collections.abc import Iterator

from orchestrator import problems, proxy_problems, work_problems
from orchestrator.problems import Problem

_ROOMS = {problems.__name__, work_problems.__name__, proxy_problems.__name__}


def catalogue() -> Iterator[type[Problem]]:
    """All of them, by status and slug."""
    known = [kind for kind in _below(Problem) if kind.__module__ in _ROOMS]
    yield from sorted(known, key=lambda kind: (kind.status, kind.slug))


def _below(kind: type[Problem]) -> Iterator[type[Problem]]:
    for special in kind.__subclasses__():
        yield special
        yield from _below(special)
