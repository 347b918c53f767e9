"""Which tokens are a person's: a positive sign of a login is required, and no mark of a machine may be there.

The rules of an issuer are JSON: `{"any_of": [sign, …], "none_of": [mark, …]}`. A sign or mark is the name of a claim,
which must be present and not empty, or an object of `claim` and one test of its text: `equals`, `starts_with`,
`ends_with`, or `same_as`, which names another claim. Names may be dotted paths.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.claims import path

Test = Literal["present", "equals", "starts_with", "ends_with", "same_as"]
_TESTS: tuple[Test, ...] = ("equals", "starts_with", "ends_with", "same_as")


@dataclass(frozen=True, slots=True)
class Condition:
    """A test of one claim. `operand` is the text to compare with or, for `same_as`, the name of another claim."""

    claim: str
    test: Test = "present"
    operand: str = ""

    def is_sign(self, claims: Mapping[str, Any]) -> bool:
        """Return whether the claim is there, understood, and as the condition has it."""
        value = path(claims, self.claim)
        if self.test == "present":
            return _is_filled(value)
        return any(self._fits(text, claims) for text in _texts(value) or ())

    def is_mark(self, claims: Mapping[str, Any]) -> bool:
        """Return whether the claim is as the condition has it, or is of a form that is not understood."""
        value = path(claims, self.claim)
        if value is None:
            return False
        texts = _texts(value)
        return self.test == "present" or texts is None or any(self._fits(text, claims) for text in texts)

    def _fits(self, text: str, claims: Mapping[str, Any]) -> bool:
        if self.test == "starts_with":
            return text.startswith(self.operand)
        if self.test == "ends_with":
            return text.endswith(self.operand)
        return text == (path(claims, self.operand) if self.test == "same_as" else self.operand)


SIGNS = tuple(Condition(claim) for claim in ("sid", "auth_time", "session_state", "amr"))
"""What a login leaves in a token, unless an issuer's rules name other signs."""

MARKS = (
    Condition("preferred_username", "starts_with", "service-account-"),
    Condition("client_id", "same_as", "sub"),
    Condition("cid", "same_as", "sub"),
    Condition("azp", "same_as", "sub"),
    Condition("appid", "same_as", "sub"),
    Condition("sub", "ends_with", "@clients"),
    Condition("idtyp", "equals", "app"),
    Condition("gty", "equals", "client-credentials"),
    Condition("gty", "equals", "client_credentials"),
    Condition("email", "ends_with", ".gserviceaccount.com"),
)
"""What only a machine's token has. An issuer's rules can add marks and take none away."""


@dataclass(frozen=True, slots=True)
class PersonRules:
    """The rules of one issuer."""

    signs: tuple[Condition, ...] = SIGNS
    marks: tuple[Condition, ...] = MARKS

    def match(self, claims: Mapping[str, Any]) -> bool:
        """Return whether the claims are a person's."""
        signed = any(sign.is_sign(claims) for sign in self.signs)
        return signed and not any(mark.is_mark(claims) for mark in self.marks)


DEFAULT = PersonRules()


def read(rules: object) -> PersonRules:
    """Return the rules that their JSON describes; None is the default. Raises ValueError where it is malformed."""
    if rules is None:
        return DEFAULT
    if not isinstance(rules, dict) or not rules or not rules.keys() <= {"any_of", "none_of"}:
        raise ValueError("rules are an object of any_of, none_of or both")
    signs = _conditions(rules["any_of"]) if "any_of" in rules else SIGNS
    marks = _conditions(rules["none_of"]) if "none_of" in rules else ()
    return PersonRules(signs, (*MARKS, *marks))


def _conditions(given: object) -> tuple[Condition, ...]:
    if not isinstance(given, list) or not given:
        raise ValueError("any_of and none_of are lists of at least one condition")
    return tuple(_condition(item) for item in given)


def _condition(item: object) -> Condition:
    if _is_name(item):
        return Condition(str(item))
    tests = [test for test in _TESTS if isinstance(item, dict) and test in item]
    if not isinstance(item, dict) or len(tests) != 1 or item.keys() != {"claim", tests[0]}:
        raise ValueError("a condition is a claim's name, or an object of claim and one of " + ", ".join(_TESTS))
    if not (_is_name(item["claim"]) and _is_name(item[tests[0]])):
        raise ValueError("a condition's claim and operand are texts that are not blank")
    return Condition(item["claim"], tests[0], item[tests[0]])


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_filled(value: object) -> bool:
    """Return whether a claim says something: text that is not blank, a number above 0, or a list with one of these."""
    if isinstance(value, list):
        return any(_is_filled(item) for item in value)
    if isinstance(value, str):
        return bool(value.strip())
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _texts(value: object) -> list[str] | None:
    """Return the texts of a claim, or None where it is neither a text nor a list of texts."""
    items: list[object] = value if isinstance(value, list) else [value]
    texts = [item for item in items if isinstance(item, str)]
    return texts if len(texts) == len(items) else None
