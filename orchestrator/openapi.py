"""The API's document (OpenAPI 3.1): what every operation has in common, added to what each one says of itself."""

from functools import cache
from threading import Lock
from typing import Any

from django.urls import resolve
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerFieldExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer

from orchestrator import openapi_headers, problem_schemas, service_docs
from orchestrator.catalogue import catalogue
from orchestrator.idempotency.middleware import is_passed_over
from orchestrator.openapi_headers import Schema
from orchestrator.problems import (
    BadRequest,
    BodyTooLarge,
    DatabaseStale,
    Forbidden,
    InFlight,
    InternalError,
    InvalidJson,
    KeyMismatch,
    Problem,
    ServiceUnavailable,
    StoredAnswerInvalid,
    TooManyRequests,
    Unauthenticated,
    UnsupportedMediaType,
)

ALWAYS: tuple[type[Problem], ...] = (BadRequest, BodyTooLarge, InternalError)
"""How any operation may refuse, the public ones too."""

WITH_A_CALLER: tuple[type[Problem], ...] = (
    InvalidJson,
    Unauthenticated,
    Forbidden,
    UnsupportedMediaType,
    TooManyRequests,
    ServiceUnavailable,
    DatabaseStale,
)
"""How any operation that needs a token may refuse besides. A body is judged even where none is asked for."""

WITH_A_KEY: tuple[type[Problem], ...] = (InFlight, StoredAnswerInvalid, KeyMismatch)
"""How any operation that needs a token and writes may refuse besides, unless its answers are never remembered."""

_INFO: Schema = {
    "description": "The control plane for the work of AI agents. JSON in and out; times are RFC 3339 in UTC; unknown"
    " members of a body and unknown query parameters are refused, and so is a number that a double does not keep"
    " exactly: send it as text. Every refusal is a problem document (RFC 9457): [all kinds](/problems).",
    "license": {"name": "Apache 2.0"},
}
_TAGS = {
    "sessions": "Agents' pieces of work.",
    "tasks": "Work that one role routes to another.",
    "approvals": "What people are asked to agree to.",
    "audit": "What happened, for auditors and operators.",
    "service": "How the service is. For anybody.",
}

_making = Lock()


def document() -> bytes:
    """The document as JSON. The same for every caller, so made once in a process."""
    # The generator hangs each view on its class for a while: two threads at once would mix them up.
    with _making:
        return _document()


@cache
def _document() -> bytes:
    found = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return bytes(OpenApiJsonRenderer().render(found, renderer_context={}))


class Bearer(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # its base has an untyped subclass hook
    """A bearer token, as CallerAuthentication takes it from the middleware."""

    target_class = "orchestrator.auth.CallerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: object) -> Schema:
        """What the document says of it."""
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "An access token of an issuer that the service trusts, or one of `manage.py issue_token`.",
        }


class OneOrMore(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]  # its base has an untyped subclass hook
    """One of something, or a list of them."""

    target_class = "orchestrator.fields.OneOrMore"

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> Schema:
        """Either shape."""
        one = auto_schema._map_serializer_field(self.target.child, direction)
        many = {"type": "array", "items": one, "minItems": self.target.min_length, "maxItems": self.target.max_length}
        return {"oneOf": [one, many]}


def complete(result: Schema, **_: Any) -> Schema:
    """A postprocessing hook: adds the service's own paths, what every operation has in common, and the components."""
    result["info"].update(_INFO)
    result["tags"] = [{"name": name, "description": told} for name, told in _TAGS.items()]
    paths = result["paths"]
    paths.update(service_docs.paths())
    for path, operations in paths.items():
        for method, operation in operations.items():
            _complete(operation, keyed=method != "get" and not is_passed_over(path))
            if "requestBody" in operation:
                view: Any = resolve(path).func
                _complete_body(operation, result["components"]["schemas"], has_guard=view.cls.guards)
    headers = openapi_headers
    taken = {**headers.TAKEN, **headers.KEY, **headers.NEEDED_KEY, **headers.PREFER}
    shared = {**problem_schemas.components(), "headers": headers.TOLD, "parameters": taken}
    for kind, components in shared.items():
        result["components"].setdefault(kind, {}).update(components)
    return result


def _complete_body(operation: Schema, schemas: Schema, *, has_guard: bool) -> None:
    """Say that a body takes no other members, and how a caller may have them ignored."""
    for content in operation["requestBody"]["content"].values():
        _close(content["schema"], schemas)
    if has_guard:
        return
    operation["parameters"].append({"$ref": "#/components/parameters/Prefer"})
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            answer["headers"].update(openapi_headers.told("Preference-Applied"))


def _close(schema: Schema, schemas: Schema) -> None:
    """Refuse other members in a schema and in those that it is made of. Free-form objects name none and stay open."""
    if "$ref" in schema:
        _close(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "properties" in schema:
        schema["additionalProperties"] = False
    inner = [*schema.get("properties", {}).values(), *schema.get("oneOf", ()), *schema.get("allOf", ())]
    for part in [*inner, *([schema["items"]] if "items" in schema else [])]:
        _close(part, schemas)


def _complete(operation: Schema, *, keyed: bool) -> None:
    common, taken, headers = list(ALWAYS), list(openapi_headers.TAKEN), [*openapi_headers.ALWAYS]
    if operation["security"]:
        common += WITH_A_CALLER
        headers += ["RateLimit", "RateLimit-Policy"]
    needs_key = operation.pop("x-needs-key", False)
    if operation["security"] and keyed:
        common += WITH_A_KEY
        taken += openapi_headers.NEEDED_KEY if needs_key else openapi_headers.KEY
        headers += ["Idempotent-Replayed"]
    slugs = {*operation.pop("x-problems", ()), *(kind.slug for kind in common)}
    refused = problem_schemas.responses(kind for kind in catalogue() if kind.slug in slugs)
    answers = operation["responses"]
    for answer in answers.values():
        answer.setdefault("headers", {}).update(openapi_headers.told(*headers))
    operation["responses"] = dict(sorted({**answers, **refused}.items()))
    named: list[Schema] = [{"$ref": f"#/components/parameters/{name}"} for name in taken]
    operation["parameters"] = [*operation.get("parameters", ()), *named]
