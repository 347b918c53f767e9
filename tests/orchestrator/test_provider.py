"""The provider's endpoints, kept."""

from typing import Any

import pytest

from bearer_tokens.jwks_cache import FRESH_SECONDS
from orchestrator.people.provider import Discovery
from orchestrator.problems import ServiceUnavailable


def _discovery(*answers: Any) -> tuple[Discovery, list[float], list[Any]]:
    left, clock = list(answers), [0.0]

    def fetch() -> Any:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Discovery(fetch, lambda: clock[0]), clock, left


DOCUMENT = {
    "issuer": "https://id.example",
    "authorization_endpoint": "https://id.example/a",
    "token_endpoint": "https://id.example/t",
}


def test_endpoints_are_fetched_once_in_ten_minutes() -> None:
    discovery, clock, left = _discovery(DOCUMENT, {**DOCUMENT, "token_endpoint": "https://id.example/new"})
    for clock[0] in (0.0, FRESH_SECONDS):
        assert discovery.provider().token == "https://id.example/t"
    clock[0] += 1
    assert discovery.provider().token == "https://id.example/new"
    assert left == []


def test_known_endpoints_serve_for_a_day_while_the_provider_is_away() -> None:
    discovery, clock, _ = _discovery(DOCUMENT, OSError(), OSError())
    discovery.provider()
    clock[0] = 24 * 3600
    assert discovery.provider().token == "https://id.example/t"
    clock[0] += 10
    with pytest.raises(ServiceUnavailable):
        discovery.provider()


def test_a_provider_that_is_away_is_asked_again_after_five_seconds() -> None:
    discovery, clock, left = _discovery(OSError(), DOCUMENT)
    for clock[0] in (0.0, 4.9):
        with pytest.raises(ServiceUnavailable):
            discovery.provider()
    assert len(left) == 1
    clock[0] = 5.0
    assert discovery.provider().token == "https://id.example/t"


@pytest.mark.parametrize(
    "changed",
    [
        {"authorization_endpoint": None},
        {"token_endpoint": None},
        {"token_endpoint": 7},
        {"token_endpoint": "/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": "http://id.example/t"},
        {"end_session_endpoint": "ftp://id.example/"},
    ],
    ids=str,
)
def test_a_discovery_document_with_odd_endpoints_is_none(changed: dict[str, Any]) -> None:
    discovery, _, _ = _discovery({**DOCUMENT, **changed})
    with pytest.raises(ServiceUnavailable):
        discovery.provider()
