"""Members of a body that its serializer does not know.

They are refused, since a caller who misspells a member would otherwise get something else than they sent. A caller may
prefer that they are ignored (`Prefer: handling=lenient`, RFC 7240, section 4.4), and the setting UNKNOWN_MEMBERS may
say so for all callers. Neither counts for a body with a guard: there a misspelt member would lift the guard.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher, get_close_matches
from typing import Any
from urllib.request import parse_http_list

from rest_framework.serializers import ListField, Serializer

LENIENT = "handling=lenient"
"""The preference, as `Prefer` asks for it and `Preference-Applied` confirms it."""

MAX_NAMED = 20
"""How many unknown members one refusal names."""

_GUARD = "requiresapproval"
_MAX_COMPARED = 60
_CLOSENESS = 0.65
_GUARD_CLOSENESS = 0.7
_NOT_LETTERS = re.compile(r"[\W_]+")


def prefers_lenient(header: str) -> bool:
    """Return whether a `Prefer` header asks for lenient handling. Of several `handling`, the first one counts."""
    for preference in parse_http_list(header):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "handling":
            return value.strip().strip('"').lower() == "lenient"
    return False


def errors(serializer: Serializer[Any], body: Any) -> list[tuple[str, str]]:
    """Return the path of each unknown member, with a sentence that names the nearest known member."""
    unknown = list(_unknown(serializer, body, ""))
    listed = [(path, _sentence(name, known)) for path, name, known in unknown[:MAX_NAMED]]
    if len(unknown) > MAX_NAMED:
        listed.append(("body", f"There are {len(unknown) - MAX_NAMED} more members that are not known here."))
    return listed


def has_guard(serializer: Serializer[Any], body: Any) -> bool:
    """Return whether a body has `requires_approval`, or any member that may have been meant so.

    Free-form objects are not looked into, and unknown members are, however deep.
    """
    return any(is_like_guard(name) for name in _names(serializer, body))


def is_like_guard(name: str) -> bool:
    """Return whether a member's name is, or is close to, `requires_approval`, in any case and with any separators."""
    form = _form(name)
    if "approv" in form:
        return True
    return len(form) <= 2 * len(_GUARD) and SequenceMatcher(None, form, _GUARD).ratio() >= _GUARD_CLOSENESS


def _unknown(field: Any, value: Any, path: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield the path and the name of each unknown member, and the names that are known in its place."""
    if isinstance(field, Serializer) and isinstance(value, Mapping):
        for name, inner in value.items():
            shown = name or '""'
            where = f"{path}.{shown}" if path else shown
            if name in field.fields:
                yield from _unknown(field.fields[name], inner, where)
            else:
                yield where, name, tuple(field.fields)
    elif isinstance(field, ListField):
        for index, item in enumerate(_listed(value)):
            yield from _unknown(field.child, item, f"{path}.{index}")


def _names(field: Any, value: Any) -> Iterator[str]:
    """Yield the names of all members but those inside free-form objects."""
    if isinstance(field, Serializer) and isinstance(value, Mapping):
        for name, inner in value.items():
            yield name
            yield from _names(field.fields[name], inner) if name in field.fields else _all_names(inner)
    elif isinstance(field, ListField):
        for item in _listed(value):
            yield from _names(field.child, item)


def _all_names(value: Any) -> Iterator[str]:
    """Yield every name at any depth. The strict parser has bounded how many there are."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield name
            yield from _all_names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _all_names(inner)


def _listed(value: Any) -> list[Any]:
    """Return a list as it is, and one item as a list, as fields of one or more take it."""
    return value if isinstance(value, list) else [value]


def _sentence(name: str, known: tuple[str, ...]) -> str:
    """Return what is wrong with an unknown member. Only the first characters of a long name are compared."""
    forms = {_form(each): each for each in known}
    nearest = get_close_matches(_form(name)[:_MAX_COMPARED], forms, n=1, cutoff=_CLOSENESS)
    guess = f" Did you mean {forms[nearest[0]]}?" if nearest else ""
    return f"There is no such member here.{guess}"


def _form(name: str) -> str:
    """Return a name in small letters without separators, so that requiresApproval is requires_approval."""
    return _NOT_LETTERS.sub("", name).lower()
