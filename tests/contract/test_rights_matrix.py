"""Every operation of the document, by every kind of caller, on a row of its own and on a foreign one.

The operations come from the document: one without a line in a matrix, or a line without a cell, fails.
"""

from typing import Any

import pytest

from tests.api import Api
from tests.contract import approval_matrix, audit_matrix, session_matrix, task_matrix
from tests.contract.api_document import Operation, assert_as_documented, operations
from tests.contract.callers import CALLERS, OWNERS, VARIANTS, Cell, Line

pytestmark = pytest.mark.django_db(transaction=True)

NOUNS: dict[str, Any] = {
    "sessions": session_matrix,
    "tasks": task_matrix,
    "approvals": approval_matrix,
    "audit": audit_matrix,
}
"""By the first part of a path: its lines, how a row is made and a call made about it, and what may not be touched."""

MATRIX: dict[str, Line] = {name: line for noun in NOUNS.values() for name, line in noun.LINES.items()}
SECURED = [operation for operation in operations() if not operation.is_public]


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("operation", SECURED, ids=str)
def test_each_caller_may_do_what_the_matrix_says(operation: Operation, caller: str) -> None:
    cells = MATRIX.get(str(operation), {}).get(caller)
    assert cells is not None, f"The matrix has no cell for {operation} by {caller}."
    assert_rights(operation, caller, CALLERS[caller](), cells)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("operation", SECURED, ids=str)
def test_each_variant_may_do_what_the_caller_may_whom_it_is_like(operation: Operation, variant: str) -> None:
    caller = VARIANTS[variant]
    cells = caller.but.get(str(operation)) or MATRIX[str(operation)][caller.like]
    assert_rights(operation, caller.like, caller.bearer(), cells)


def assert_rights(operation: Operation, caller: str, bearer: str | None, cells: tuple[Cell, Cell]) -> None:
    """Fails unless a call about a row of the caller's own, then about a foreign one, is answered as the cells say."""
    noun = NOUNS[operation.path.split("/")[1]]
    for whose, expected in zip(OWNERS, cells, strict=True):
        about = noun.row(operation, whose, caller)
        if isinstance(expected, int) and expected < 300 and operation.method != "GET":
            found, answer = noun.asked(operation, bearer, about)
        else:
            with noun.untouched(about):
                found, answer = noun.asked(operation, bearer, about)
        assert found == expected, f"{operation} by {caller}, {whose}: {answer.content!r}"
        assert_as_documented(answer, operation)


def test_the_matrix_has_no_line_that_is_no_operation_and_no_cell_that_is_no_caller() -> None:
    assert set(MATRIX) == {str(operation) for operation in SECURED}
    for line in MATRIX.values():
        assert list(line) == list(CALLERS)
    assert list(task_matrix.WHO) == list(CALLERS)


@pytest.mark.parametrize("operation", [one for one in operations() if one.is_public], ids=str)
def test_what_needs_no_token_is_answered_to_anybody(operation: Operation) -> None:
    for bearer in (None, "nonsense"):
        assert Api(bearer).send(operation.method, operation.path).status_code == 200
