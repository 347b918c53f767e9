"""JSON on the command line: the same numbers as the service takes, and no others."""

from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_mesh import exact
from agent_mesh.cli.calling import json_object
from orchestrator.parsing import parse
from orchestrator.problems import InvalidJson

TAKEN = ("1.0", "1e2", "0.1", "1.10", "90071992547409.92", "5e-324", "-0.0", "9007199254740992", "1e22", "0e-99")
REFUSED = (
    *("90071992547409.921", "9007199254740993.0", "9007199254740993", "0.30000000000000001", "1e400", "1e-400"),
    *("1e999999999", "1e-999999999", "0." + "3" * 1_000_000, "9" * 1_000_000, "NaN", "Infinity"),
)
many = settings(max_examples=500, deadline=None, database=None)
numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)


@pytest.mark.parametrize("text", TAKEN)
def test_takes_a_number_that_a_double_keeps(text: str) -> None:
    assert exact.loads(text) == float(text)


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:20])
def test_refuses_a_number_that_would_change(text: str) -> None:
    with pytest.raises(exact.Inexact):
        exact.loads(text)


@many
@given(numbers)
def test_takes_what_the_service_takes(text: str) -> None:
    try:
        expected = parse(text.encode())
    except InvalidJson:
        with pytest.raises(exact.Inexact):
            exact.loads(text)
    else:
        assert exact.loads(text) == expected


@pytest.mark.parametrize("value", [9007199254740992.0, -1e16, 2**53 + 1, {"a": [{"b": 1e300}]}, float("inf")])
def test_refuses_parsed_numbers_that_may_have_lost_digits(value: Any) -> None:
    with pytest.raises(exact.Inexact):
        exact.check(value)


@pytest.mark.parametrize("value", [2**53, -(2**53), 9007199254740991.0, 0.1, 90071992547409.92, True, "1e400", None])
def test_takes_parsed_numbers_that_are_what_they_were(value: Any) -> None:
    exact.check({"a": [value]})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"amount": 90071992547409.921}', "it becomes 90071992547409.92. Give it as text."),
        ('{"amount": 9007199254740993}', "Give it as text."),
        ('{"amount": 1, "amount": 2}', "the same member twice"),
        ('{"amount": ', "It is no JSON"),
        ("[1]", "no object"),
    ],
)
def test_an_option_of_the_command_line_is_refused_and_says_why(text: str, told: str) -> None:
    with pytest.raises(typer.BadParameter, match=told):
        json_object(text)
