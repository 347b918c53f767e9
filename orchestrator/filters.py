"""The filters of lists: query parameters become conditions, or a 400 that names what is wrong."""

from collections.abc import Callable, Collection, Mapping

from django.db.models import Q, TextChoices

from orchestrator import ids, moments, names, parsing
from orchestrator.problems import InvalidRequest

Reader = Callable[[str], Q]
"""From a parameter's value to its condition. Raises Refused."""

Beginning = Callable[[str, str], Q]
"""The same for parameters that only begin alike: from what follows, and the value."""

_MOST_BARS = 9
MOST_ALIKE = 10
"""How many parameters of one beginning a query may have: each is a condition that is judged for every row."""


class Refused(ValueError):  # noqa: N818
    """Says what is wrong with a value."""


def statuses(known: type[TextChoices]) -> Reader:
    """A comma list of states."""

    def read(text: str) -> Q:
        # Each once: a repeated status is no further condition, however often it comes.
        named = list(dict.fromkeys(text.lower().split(",")))
        if unknown := [name for name in named if name not in known.values]:
            raise Refused(f"There is no status {unknown[0]!r}.")
        return Q(status=named[0]) if len(named) == 1 else Q(status__in=named)

    return read


def equal(column: str) -> Reader:
    """A text as it stands."""
    return lambda text: Q(**{column: text})


def named(column: str) -> Reader:
    """A name such as a role, in NFC as names are stored."""

    def read(text: str) -> Q:
        if text and not names.is_clear(names.normal(text)):
            raise Refused("It has a character that cannot be seen.")
        return Q(**{column: names.normal(text)})

    return read


def filter_scope(filters: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the filters in the form that cursors are bound to: by name, with the values in NFC."""
    return sorted((parameter, names.normal(text)) for parameter, text in filters.items())


def identity(who: str) -> Reader:
    """`<issuer>|<subject>`, as identities are written; `who` is what the columns begin with, such as `created_by`.

    Either may have bars of its own: every reading counts. Subjects are stored in NFC.
    """

    def read(text: str) -> Q:
        if text and not names.is_clear(names.normal(text)):
            raise Refused("It has a character that cannot be seen.")
        parts = text.split("|")
        readings = [("|".join(parts[:at]), "|".join(parts[at:])) for at in range(1, min(len(parts), _MOST_BARS))]
        found = Q()
        for issuer, subject in readings:
            if issuer and subject:
                found |= Q(**{f"{who}_issuer": issuer, f"{who}_subject": names.normal(subject)})
        if not found:
            raise Refused("It must be <issuer>|<subject>.")
        return found

    return read


def uuid(column: str, noun: str = "") -> Reader:
    """An id, in any case, with or without its noun before it."""

    def read(text: str) -> Q:
        found = ids.read(text, noun)
        if found is None:
            raise Refused("It must be a UUID.")
        return Q(**{column: found})

    return read


def moment(lookup: str) -> Reader:
    """A date and time with its offset (RFC 3339, section 5.6), for a lookup such as `created_at__gte`."""

    def read(text: str) -> Q:
        at = moments.read(text)
        if at is None:
            raise Refused("It must be a date and time with an offset, such as 2026-01-31T09:00:00Z.")
        return Q(**{lookup: at})

    return read


def _too_many(query: Mapping[str, str], beginnings: Collection[str]) -> list[tuple[str, str]]:
    """Return an error for each beginning that too many parameters have."""
    return [
        (beginning, f"At most {MOST_ALIKE} parameters may begin with it.")
        for beginning in beginnings
        if sum(parameter.startswith(beginning) for parameter in query) > MOST_ALIKE
    ]


def conditions(
    query: Mapping[str, str], known: Mapping[str, Reader], beginnings: Mapping[str, Beginning] | None = None
) -> Q:
    """All filters of a query together; parameters that are no filter are passed over.

    Raises InvalidRequest that names each parameter it cannot read.
    """
    found, errors = Q(), _too_many(query, beginnings or {})
    for parameter, text in query.items():
        try:
            if parsing.UNSTORABLE.search(parameter + text):
                raise Refused("It has a NUL character or a lone surrogate.")
            if parameter in known:
                found &= known[parameter](text)
            for beginning, reader in (beginnings or {}).items():
                if parameter.startswith(beginning):
                    found &= reader(parameter.removeprefix(beginning), text)
        except Refused as refusal:
            errors.append((parameter, str(refusal)))
    if errors:
        raise InvalidRequest(errors)
    return found
