"""Tools that refuse arguments they do not have, and numbers that may have changed on the way.

The SDK ignores unknown arguments. A model that misspells `required_approvals` would then ask one person instead of two.
"""

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from mcp.server.mcpserver.tools.base import Tool
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from mcp_types import ToolAnnotations
from pydantic import ConfigDict, ValidationError

from agent_mesh import exact


class StrictArguments(FuncMetadata):
    """The arguments of a tool, with nothing else beside them."""

    def validate_arguments(self, arguments_to_validate: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments as the tool takes them. Raise ValidationError, which the SDK turns into a failure."""
        wrong = [*self._unknown(arguments_to_validate), *self._inexact(arguments_to_validate)]
        if wrong:
            raise ValidationError.from_exception_data(self.arg_model.__name__, wrong, hide_input=True)
        return super().validate_arguments(arguments_to_validate)

    def _unknown(self, arguments: Mapping[str, Any]) -> Iterator[Any]:
        known = tuple(self.arg_model.model_fields)
        for name in arguments:
            if name not in known:
                nearest = get_close_matches(name[:60].lower(), known, n=1)
                guess = f"Did you mean {nearest[0]}?" if nearest else f"There are {', '.join(known)}."
                yield _error(name, f"There is no such argument. {guess}")

    def _inexact(self, arguments: Mapping[str, Any]) -> Iterator[Any]:
        for name, value in arguments.items():
            try:
                self._check(name, value)
            except exact.Inexact as error:
                yield _error(name, str(error))

    def _check(self, name: str, value: Any) -> None:
        """Raise Inexact. The SDK parses an object that comes as text, and would not see what the text loses."""
        field = self.arg_model.model_fields.get(name)
        if not isinstance(value, str) or field is None or field.annotation is str:
            exact.check(value)
            return
        try:
            exact.loads(value)
        except exact.Inexact:
            raise
        except (ValueError, RecursionError):
            return  # Not JSON: validation says what is wrong with it.


def tool(function: Callable[..., Any], *, description: str | None, annotations: ToolAnnotations) -> Tool:
    """Return a tool whose input schema says `additionalProperties: false`, and which means it."""
    made = Tool.from_function(function, description=description, annotations=annotations)
    said, base = made.fn_metadata, made.fn_metadata.arg_model
    # Without the input in errors: it may hold the token of a lease.
    config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    model: Any = type(base.__name__, (base,), {"__module__": __name__, "model_config": config})
    made.fn_metadata = StrictArguments(
        arg_model=model, output_schema=said.output_schema, output_model=said.output_model, wrap_output=said.wrap_output
    )
    made.parameters = model.model_json_schema(by_alias=True)
    return made


def _error(name: str, message: str) -> dict[str, Any]:
    """Return an error as `ValidationError.from_exception_data` takes it."""
    return {"type": "value_error", "loc": (name,), "input": None, "ctx": {"error": message}}
