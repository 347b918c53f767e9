"""What was tried, what came of it, and the table of both."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service import Answer


@dataclass(frozen=True)
class Check:
    """One thing tried. `differs` says how it came out otherwise than expected; it is empty if it did not."""

    path: str
    is_refusal: bool
    differs: str = ""


def expected(path: str, answer: Answer, status: int, /, **members: object) -> Check:
    """It is to be done: with this status, and these members in its body."""
    if answer.status != status:
        return Check(path, False, f"{path}: {_told(answer)}, expected {status}")
    for name, value in members.items():
        if answer.body.get(name) != value:
            return Check(
                path, False, f"{path}: {_told(answer)} with {name} {answer.body.get(name)!r}, expected {value!r}"
            )
    return Check(path, is_refusal=False)


def refused(path: str, answer: Answer, status: int, slug: str, /, **members: object) -> Check:
    """It is to be refused: with this status, for this reason, and these members."""
    right = all(answer.body.get(name) == value for name, value in members.items())
    if (answer.status, answer.slug) == (status, slug) and right:
        return Check(path, is_refusal=True)
    return Check(path, True, f"{path}: {_told(answer)}, expected {status} {slug}")


def _told(answer: Answer) -> str:
    return f"{answer.call} answered {answer.status} {answer.slug}".rstrip()


def table(checks: Iterable[Check]) -> str:
    """A line for each path, in the order in which they come: first what is done, then what is refused."""
    rows: dict[tuple[str, bool], list[Check]] = {}
    for check in checks:
        rows.setdefault((check.path, check.is_refusal), []).append(check)
    done = [_row(path, tried) for (path, is_refusal), tried in rows.items() if not is_refusal]
    no = [_row(path, tried) for (path, is_refusal), tried in rows.items() if is_refusal]
    return "\n".join([_line("path", "tried", "as expected", "refused as expected"), *done, "", *no])


def _row(path: str, tried: Sequence[Check]) -> str:
    right = str(sum(not check.differs for check in tried))
    return _line(path, str(len(tried)), *(("", right) if tried[0].is_refusal else (right, "")))


def _line(path: str, *numbers: str) -> str:
    tried, done, no = numbers
    return f"{path:<50}{tried:>7}{done:>13}{no:>21}".rstrip()
