"""Each write of the API declares the roles that it requires, so that replays can be judged by them."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver

from orchestrator.actors import Role
from orchestrator.idempotency.middleware import WRITES
from orchestrator.views import ApiView, required_roles

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
BY_BODY: dict[str, tuple[Any, set[Role]]] = {
    "a request": ({"task_id": ID, "approver_role": "manager"}, {Role.AGENT, Role.OPERATOR}),
    "a request whose decision is pending": ({"decision": "pending"}, {Role.AGENT, Role.OPERATOR}),
    "a decision": ({"task_id": ID, "decision": "approved"}, {Role.APPROVER}),
    "a reopening": ({"reopens": ID}, {Role.OPERATOR}),
    "a replacement": ({"replaces": ID}, {Role.OPERATOR}),
    "no object": (["decision"], {Role.AGENT, Role.OPERATOR}),
}


def writing_actions(patterns: Any = None) -> Iterator[tuple[type[ApiView], str]]:
    """Each view of the URL table with each of its actions that write."""
    for entry in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(entry, URLResolver):
            yield from writing_actions(entry.url_patterns)
        elif isinstance(entry, URLPattern):
            view: Any = entry.callback
            for method, action in getattr(view, "actions", {}).items():
                if method.upper() in WRITES:
                    yield view.cls, action


def test_every_write_of_the_url_table_declares_its_roles() -> None:
    found = list(writing_actions())
    assert len(found) >= 20
    assert [(view.__name__, action) for view, action in found if not view.roles_for(action, {})] == []


@pytest.mark.parametrize("name", BY_BODY)
def test_the_roles_of_a_post_to_approvals_follow_its_body(name: str) -> None:
    body, roles = BY_BODY[name]
    assert {*required_roles(RequestFactory().post("/approvals"), body)} == roles


@pytest.mark.parametrize(
    ("method", "path", "roles"),
    [
        ("POST", "/sessions", {Role.AGENT, Role.OPERATOR}),
        ("DELETE", f"/sessions/{ID}", {Role.OPERATOR}),
        ("POST", f"/approvals/{ID}/approve", {Role.APPROVER}),
        ("POST", f"/tasks/{ID}/force-release", {Role.OPERATOR}),
        ("POST", f"/tasks/{ID}/complete", {Role.AGENT, Role.OPERATOR}),
        ("POST", "/nowhere", set()),
        ("PATCH", "/sessions", set()),
        ("POST", "/status", set()),
    ],
)
def test_the_roles_of_a_call_are_found_by_its_path(method: str, path: str, roles: set[Role]) -> None:
    assert {*required_roles(RequestFactory().generic(method, path), {})} == roles
