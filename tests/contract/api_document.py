"""The API's document as a caller gets it, and whether an answer is as it says."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonschema_rs

from tests.api import Api

PROBLEM = "application/problem+json"
METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Operation:
    """One call of the API, and what the document says of it."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def said(self) -> dict[str, Any]:
        """The operation object."""
        found: dict[str, Any] = document()["paths"][self.path][self.method.lower()]
        return found

    @property
    def is_public(self) -> bool:
        """Whether it needs no token."""
        return not self.said["security"]

    def response(self, status: int) -> dict[str, Any]:
        """What it says of an answer with this status."""
        said = self.said["responses"]
        assert str(status) in said, f"{self} does not say that it answers {status}"
        return resolved(said[str(status)])

    @property
    def success(self) -> int:
        """The status of an answer that is no refusal. A DELETE that deletes is 204; 202 waits for a second person."""
        statuses = [int(status) for status in self.said["responses"]]
        return 204 if 204 in statuses else min(statuses)

    @property
    def refusals(self) -> set[str]:
        """The slugs of the problems by which it may refuse."""
        slugs: set[str] = set()
        for status in self.said["responses"]:
            slugs.update(self.response(int(status)).get("content", {}).get(PROBLEM, {}).get("examples", {}))
        return slugs


@cache
def document() -> dict[str, Any]:
    """What `GET /api-docs/openapi.json` answers to anybody."""
    found: dict[str, Any] = Api(None).get("/api-docs/openapi.json", host="localhost").json()
    return found


def operations() -> Iterator[Operation]:
    """All that are in the document."""
    for path, item in document()["paths"].items():
        assert set(item) <= set(METHODS)
        for method in item:
            yield Operation(method.upper(), path)


def resolved(said: dict[str, Any]) -> dict[str, Any]:
    """What a reference stands for, or what is no reference as it is."""
    while "$ref" in said:
        found: Any = document()
        for part in said["$ref"].removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        said = found
    return said


def assert_valid(value: Any, schema: dict[str, Any]) -> None:
    """Fails unless a value is as a schema of the document has it, the formats too."""
    validator = jsonschema_rs.Draft202012Validator(
        {"components": document()["components"], **schema},
        validate_formats=True,
        # Every number of JSON is one of these: it is OpenAPI's word for how wide a reader's variable should be.
        formats={"double": lambda _text: True},
        ignore_unknown_formats=False,
    )
    problems = [f"{list(error.instance_path)}: {error.message}" for error in validator.iter_errors(value)]
    assert not problems, problems


def assert_as_documented(answer: Any, operation: Operation) -> None:
    """Fails unless the document foretells an answer: its status, media type, body and headers."""
    said = operation.response(answer.status_code)
    if answer.streaming:
        assert answer.headers["Content-Type"].partition(";")[0] in said["content"]
    elif "content" in said:
        assert_valid(answer.json(), said["content"][answer.headers["Content-Type"]]["schema"])
    else:
        assert answer.content == b""
    for name, reference in said["headers"].items():
        header = resolved(reference)
        text = answer.headers.get(name)
        assert text is not None or not header.get("required", False), (
            f"{operation}: {answer.status_code} without {name}"
        )
        if text is not None:
            assert_valid(int(text) if header["schema"]["type"] == "integer" else text, header["schema"])
