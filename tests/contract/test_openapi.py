"""GET /api-docs/openapi.json says all there is, and nothing else."""

from collections.abc import Iterator
from io import StringIO
from typing import Any
from unittest.mock import ANY

import pytest
from django.core.management import call_command
from django.urls import URLPattern, URLResolver, get_resolver

from orchestrator import proxy_problems
from orchestrator.catalogue import catalogue
from orchestrator.problem_schemas import MEMBERS, SAMPLES
from orchestrator.problems import MethodNotAllowed, Problem
from tests.api import Api
from tests.contract.api_document import (
    METHODS,
    PROBLEM,
    Operation,
    assert_as_documented,
    assert_valid,
    document,
    operations,
    resolved,
)
from tests.sessions_app.approval_calls import ask
from tests.sessions_app.task_calls import task_in
from tests.work import open_session

OPERATIONS = list(operations())
NOT_OF_THE_API = ("/admin", "/api-docs", "/metrics", "/oidc", "/problems", "/static")
"""Pages for people, and what their pages need."""

every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=str)
on_the_database = pytest.mark.django_db(transaction=True)


def test_is_valid_openapi_without_a_warning() -> None:
    call_command("spectacular", validate=True, fail_on_warn=True, stdout=StringIO())
    assert document()["openapi"] == "3.1.0"


def test_is_the_same_for_everybody_with_or_without_a_token(agent: Api) -> None:
    answers = [caller.get("/api-docs/openapi.json") for caller in (Api(None), Api("no token"), agent)]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["Content-Type"] for answer in answers} == {"application/json"}
    assert len({answer.content for answer in answers}) == 1


def test_takes_get_alone() -> None:
    answer = Api(None).post("/api-docs/openapi.json", {})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


def test_has_every_path_of_the_service() -> None:
    paths = {path for path in _paths(get_resolver().url_patterns) if not path.startswith(NOT_OF_THE_API)}
    assert paths == set(document()["paths"])


@pytest.mark.parametrize("path", document()["paths"])
def test_has_every_method_of_a_path(operator: Api, path: str) -> None:
    answer = operator.send("TRACE", path.replace("{id}", "0197a3f0-0000-7000-8000-000000000000"))
    assert answer.status_code == 405
    allowed = {method.strip().lower() for method in answer.headers["Allow"].split(",")}
    assert allowed - {"head", "options"} == set(document()["paths"][path]) & set(METHODS)


@every_operation
def test_an_operation_is_named_and_told(operation: Operation) -> None:
    said = operation.said
    assert all(said[member] for member in ("operationId", "summary", "description", "tags"))
    assert {tag["name"] for tag in document()["tags"]} >= set(said["tags"])
    assert [other for other in OPERATIONS if other.said["operationId"] == said["operationId"]] == [operation]


@every_operation
def test_needs_a_token_exactly_where_it_says_so(operation: Operation) -> None:
    assert operation.said["security"] in ([], [{"bearer": []}])
    assert operation.is_public == ("unauthenticated" not in operation.refusals)
    assert document()["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_every_kind_of_refusal_is_declared_by_some_operation() -> None:
    declared = {slug for operation in OPERATIONS for slug in operation.refusals}
    # What takes a method does not refuse it; and what the proxy tells no operation does.
    others = {MethodNotAllowed.slug, *(kind.slug for kind in catalogue() if kind.__module__ == proxy_problems.__name__)}
    assert declared == {kind.slug for kind in catalogue()} - others


@pytest.mark.parametrize("kind", list(catalogue()), ids=lambda kind: kind.slug)
def test_a_kind_of_refusal_says_which_members_it_adds(kind: type[Problem]) -> None:
    sample = next((sample for sample in SAMPLES if type(sample) is kind), None) or kind()
    assert set(sample.members) == set(MEMBERS.get(kind, {}))


@every_operation
def test_each_refusal_has_its_type_its_status_and_a_valid_example(operation: Operation) -> None:
    titles = {kind.slug: kind for kind in catalogue()}
    for status in operation.said["responses"]:
        said = operation.response(int(status)).get("content", {}).get(PROBLEM)
        for slug, example in said["examples"].items() if said else ():
            value = resolved(example)["value"]
            assert_valid(value, said["schema"])
            assert (value["type"], value["title"]) == (f"/problems/{slug}", titles[slug].title)
            assert str(value["status"]) == status


@every_operation
def test_every_other_example_is_valid(operation: Operation) -> None:
    bodies = [operation.said.get("requestBody", {})]
    answers = [operation.response(int(status)) for status in operation.said["responses"]]
    for content in [body.get("content", {}) for body in (*bodies, *answers)]:
        for said in content.values():
            examples = [resolved(example)["value"] for example in said.get("examples", {}).values()]
            for value in [*examples, *([said["example"]] if "example" in said else [])]:
                assert_valid(value, said["schema"])


@on_the_database
@pytest.mark.parametrize("operation", [operation for operation in OPERATIONS if operation.is_public], ids=str)
def test_a_path_of_the_service_answers_as_its_example_says(operation: Operation, jobs_done: None) -> None:
    answer = Api(None).get(operation.path)
    assert_as_documented(answer, operation)
    said, example = answer.json(), operation.response(200)["content"]["application/json"]["example"]
    if "jobs" in example:
        # The example has one job, and an age of its own.
        [(name, job)] = example["jobs"].items()
        assert said["jobs"].pop(name).items() >= {**job, "last_success_age_seconds": ANY}.items()
        said["jobs"] = example["jobs"]
    assert said == example


@on_the_database
def test_a_session_has_the_fields_that_the_document_names(operator: Api) -> None:
    answer = operator.post("/sessions", {"agent_role": "finance"})
    said = document()["components"]["schemas"]["Session"]
    assert set(answer.json()) == set(said["properties"]) == set(said["required"])


@on_the_database
@pytest.mark.parametrize(("query", "only"), [("", {"total", "page"}), ("?cursor=", set())])
def test_a_page_has_the_fields_that_the_document_names(operator: Api, query: str, only: set[str]) -> None:
    operator.post("/sessions", {"agent_role": "finance"})
    answer = operator.get(f"/sessions{query}")
    assert_as_documented(answer, Operation("GET", "/sessions"))
    said = document()["components"]["schemas"]["SessionPage"]
    assert set(answer.json()) == set(said["required"]) | only
    assert set(said["properties"]) == set(said["required"]) | {"total", "page"}


@on_the_database
@pytest.mark.parametrize(
    ("schema", "query"),
    [
        ("TaskWithParts", "?include=sessions,approvals,attempts"),
        ("Task", ""),
        ("TaskWithParts", "?include=attempts,approvals,sessions"),
    ],
)
def test_a_task_has_the_fields_that_the_document_names(operator: Api, schema: str, query: str) -> None:
    task = task_in("active")
    open_session(task=task)
    ask(task)
    told = operator.get(f"/tasks/{task.pk}{query}").json()
    said = document()["components"]["schemas"][schema]
    assert set(told) == set(said["properties"])
    assert set(said["required"]) == set(document()["components"]["schemas"]["Task"]["properties"])
    assert_valid(told, said)


@on_the_database
@pytest.mark.parametrize(("query", "only"), [("", {"total", "page"}), ("?cursor=", set())])
def test_a_page_of_tasks_has_the_fields_that_the_document_names(operator: Api, query: str, only: set[str]) -> None:
    task_in("active")
    answer = operator.get(f"/tasks{query}")
    assert_as_documented(answer, Operation("GET", "/tasks"))
    said = document()["components"]["schemas"]["TaskPage"]
    assert set(answer.json()) == set(said["required"]) | only


@on_the_database
def test_what_is_claimed_and_kept_has_the_fields_that_the_document_names(operator: Api) -> None:
    task_in("pending")
    [claimed] = operator.post("/tasks/claim", {"roles": ["finance"]}).json()["tasks"]
    kept = operator.post(f"/tasks/{claimed['task_id']}/heartbeat", {"lease_token": claimed["lease"]["token"]}).json()
    schemas = document()["components"]["schemas"]
    assert set(claimed["lease"]) == set(schemas["GrantedLeaseOut"]["required"])
    assert set(kept) == set(schemas["HeartbeatOut"]["required"])
    assert set(kept["lease"]) == set(schemas["LeaseOut"]["required"])


def test_a_key_is_named_where_it_counts_and_needed_where_it_must_be_there() -> None:
    keyed = {}
    for operation in OPERATIONS:
        found = [one for one in map(resolved, operation.said["parameters"]) if one["name"] == "Idempotency-Key"]
        keyed[str(operation)] = [one.get("required", False) for one in found]
    assert [name for name, needed in keyed.items() if needed == [True]] == ["POST /tasks/route"]
    without = {name for name, needed in keyed.items() if not needed and not name.startswith("GET ")}
    assert without == {"POST /tasks/claim", "POST /tasks/{id}/heartbeat"}


def _paths(patterns: list[Any], before: str = "/") -> Iterator[str]:
    """Every path, written as OpenAPI does."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _paths(pattern.url_patterns, before + str(pattern.pattern).lstrip("^/"))
        elif isinstance(pattern, URLPattern):
            path = before + str(pattern.pattern).strip("^$").removesuffix(r"\Z")
            yield path.replace("(?P<pk>[^/]+)", "{id}")
