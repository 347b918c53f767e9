"""Reading the JSON that PostgreSQL hands back."""

import json
from typing import Any

_LARGEST = 2**53


class Decoder(json.JSONDecoder):
    """jsonb writes large floats out as digits: a whole number beyond 2^53 can only be one of them, and is read so."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "parse_int": _number})


def _number(digits: str) -> int | float:
    value = int(digits)
    return value if abs(value) <= _LARGEST else float(value)
