"""JSON whose numbers arrive as they were written. The service refuses the same numbers, as docs/api/README.md says.

A double cannot hold every number. What is lost when text is parsed here, the service never sees: a caller would ask
people to agree to another amount than the one that was typed.
"""

import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NoReturn

MAX_INT = 2**53
_MAX_LENGTH = 400
_NONZERO = re.compile("[1-9]")


class Inexact(ValueError):  # noqa: N818
    """JSON that does not say exactly one thing: a number that would change, or a member that comes twice."""


def loads(text: str) -> Any:
    """Return the value of a JSON text. Raise Inexact, and ValueError for what is not JSON."""
    return json.loads(text, object_pairs_hook=_object, parse_int=_int, parse_float=_float, parse_constant=_constant)


def check(value: Any) -> None:
    """Raise Inexact for parsed JSON with a number that may have changed when it was parsed.

    A double without a fraction from 2^53 on stands for several whole numbers, so the one that was written is unknown.
    A lost digit behind the point cannot be seen any more.
    """
    for number in _numbers(value):
        if not math.isfinite(number) or abs(number) > MAX_INT or (isinstance(number, float) and abs(number) == MAX_INT):
            raise Inexact(f"The number {number!r} may have lost digits. Give it as text.")


def _numbers(value: Any) -> Iterator[int | float]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Inexact("An object has the same member twice.")
    return members


def _int(digits: str) -> int:
    # Length first: turning a million digits into a number takes quadratic time.
    if len(digits) > len(str(-MAX_INT)) or abs(int(digits)) > MAX_INT:
        raise Inexact("A whole number is beyond ±2^53. Give it as text.")
    return int(digits)


def _float(digits: str) -> float:
    if len(digits) > _MAX_LENGTH:
        raise Inexact(f"A number has more than {_MAX_LENGTH} characters. Give it as text.")
    value = float(digits)
    if value == 0:
        kept = not _NONZERO.search(re.split("[eE]", digits)[0])
    else:
        kept = math.isfinite(value) and Decimal(repr(value)) == Decimal(digits)
    if not kept:
        raise Inexact(f"A double does not keep the number {digits}: it becomes {value!r}. Give it as text.")
    return value


def _constant(name: str) -> NoReturn:
    raise Inexact(f"{name} is not JSON.")
