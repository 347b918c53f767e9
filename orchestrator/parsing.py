"""The strict JSON parser. The middleware parses each body once."""

import json
import math
import re
from decimal import Decimal
from typing import Any, NoReturn

from orchestrator.problems import InvalidJson

MAX_DEPTH = 32
MAX_NODES = 10_000
MAX_INT = 2**53
MAX_NUMBER_LENGTH = 400
"""In characters. Every double fits, written out in digits without an exponent."""

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_LONGEST_INT = len(str(MAX_INT)) + 1
_EXPONENT = re.compile("[eE]")
_NONZERO = re.compile("[1-9]")


def parse(body: bytes) -> Any:
    """Return the Python values of a JSON text (RFC 8259).

    What two readers could understand differently is refused (RFC 7493), and so is a number that a double does not keep:
    its digits would change between what the caller sent, what people agree to and what is stored. Raises InvalidJson.
    """
    if body.startswith(b"\xef\xbb\xbf"):
        raise InvalidJson("The body starts with a byte order mark.")
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_int,
            parse_float=_float,
            parse_constant=_constant,
        )
    except UnicodeDecodeError as error:
        raise InvalidJson("The body is not UTF-8.") from error
    except RecursionError as error:
        raise InvalidJson(f"The body has more than {MAX_DEPTH} levels.") from error
    except json.JSONDecodeError as error:
        raise InvalidJson(f"{error.msg}: line {error.lineno}, column {error.colno}.") from error
    measure(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidJson("An object has the same key twice.")
    return found


def _int(digits: str) -> int:
    # Length first: turning a million digits into a number takes quadratic time.
    if len(digits) > _LONGEST_INT or abs(int(digits)) > MAX_INT:
        raise InvalidJson("A whole number is beyond ±2^53. Send it as text.")
    return int(digits)


def _float(digits: str) -> float:
    """Return the double that keeps exactly the decimal value of these digits. Raise InvalidJson where none does."""
    # Length first: the work on a number must not grow with the body.
    if len(digits) > MAX_NUMBER_LENGTH:
        raise InvalidJson(f"A number has more than {MAX_NUMBER_LENGTH} characters. Send it as text.")
    value = float(digits)
    if not math.isfinite(value):
        raise InvalidJson(f"A number is too large for a double: {digits}. Send it as text.")
    if not _keeps(value, digits):
        raise InvalidJson(f"A double does not keep the number {digits}: it becomes {value!r}. Send it as text.")
    # PostgreSQL keeps no negative zero: without this, the same document would differ from itself.
    return value + 0.0


def _keeps(value: float, digits: str) -> bool:
    """Return whether the shortest text of the double is the same decimal number as the digits."""
    if value == 0:
        # A zero may have an exponent that Decimal refuses; any other digit was lost to underflow.
        return not _NONZERO.search(_EXPONENT.split(digits)[0])
    return Decimal(repr(value)) == Decimal(digits)


def _constant(name: str) -> NoReturn:
    raise InvalidJson(f"{name} is not JSON.")


def measure(value: Any) -> None:
    """Refuse what nests too deep, has too many values, or holds text that PostgreSQL cannot keep.

    Raises InvalidJson.
    """
    level, nodes, depth = [value], 0, 0
    while level:
        depth += 1
        nodes += len(level)
        if depth > MAX_DEPTH:
            raise InvalidJson(f"The body has more than {MAX_DEPTH} levels.")
        if nodes > MAX_NODES:
            raise InvalidJson(f"The body has more than {MAX_NODES} values.")
        level = [child for node in level for child in _children(node)]


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        for key in node:
            _storable(key)
        return list(node.values())
    if isinstance(node, list):
        return node
    if isinstance(node, str):
        _storable(node)
    return []


def _storable(text: str) -> None:
    if UNSTORABLE.search(text):
        raise InvalidJson("A text has a NUL character or a lone surrogate.")
