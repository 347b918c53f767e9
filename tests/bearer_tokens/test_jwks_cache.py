"""An issuer's keys: how long they serve, how often they are fetched, and what is no key set."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bearer_tokens.jwks_cache import KeyCache, KeysUnavailable
from tests.orchestrator.key_server import jwk, key_set

MINUTE, HOUR, DAY = 60, 3600, 86_400
# No database: keys are found without it.


class Issuer:
    """A clock, and an issuer who counts the moments at which it was asked."""

    def __init__(self, *kids: str) -> None:
        self.now = 1000.0
        self.document: Any = key_set(*kids)
        self.away = False
        self.asked: list[float] = []
        self.at_once = self.most_at_once = 0
        self.answering = threading.Event()
        self.answering.set()
        self.cache = KeyCache(self.fetch, lambda: self.now)
        self._lock = threading.Lock()

    def fetch(self) -> dict[str, Any]:
        with self._lock:
            self.asked.append(self.now)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.answering.wait(5)
        with self._lock:
            self.at_once -= 1
        if self.away:
            raise OSError("away")
        document: dict[str, Any] = self.document
        return document

    def knows(self, kid: str) -> bool:
        """Whether the cache has this key, once a refresh that the question set off is over."""
        found = self.cache.key(kid) is not None
        self.settle()
        return found

    def settle(self) -> None:
        """Wait for the refreshes that run beside us."""
        until(lambda: not any(thread.name.endswith("(_refresh)") for thread in threading.enumerate()))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.001)


@pytest.fixture
def issuer() -> Issuer:
    """One whose key `a` was used once, so that it is known."""
    made = Issuer("a")
    assert made.knows("a")
    assert made.asked == [1000]
    return made


def test_keys_are_fresh_for_ten_minutes(issuer: Issuer) -> None:
    for issuer.now in (1000.0, 1031.0, 1300.0, 1600.0):
        assert issuer.knows("a")
    assert issuer.asked == [1000]
    issuer.now = 1600.5
    assert issuer.knows("a")
    assert issuer.asked == [1000, 1600.5]
    issuer.now = 2200.5
    assert issuer.knows("a")
    assert issuer.asked == [1000, 1600.5]


def test_a_known_key_serves_for_an_hour_without_its_issuer_and_it_is_asked_every_thirty_seconds(issuer: Issuer) -> None:
    issuer.away = True
    for second in range(0, HOUR + 1, 10):
        issuer.now = 1000.0 + second
        assert issuer.knows("a"), second
    gaps = [later - earlier for earlier, later in zip(issuer.asked, issuer.asked[1:], strict=False)]
    assert gaps[0] > 10 * MINUTE
    assert set(gaps[1:]) == {30}


def test_a_known_key_serves_for_a_day_without_its_issuer_and_not_longer(issuer: Issuer) -> None:
    issuer.away = True
    issuer.now = 1000.0 + DAY
    assert issuer.knows("a")
    issuer.now = 1030.5 + DAY
    with pytest.raises(KeysUnavailable):
        issuer.cache.key("a")
    issuer.away = False
    issuer.now += 30
    assert issuer.knows("a")


def test_a_day_counts_from_the_last_fetch_that_succeeded(issuer: Issuer) -> None:
    issuer.now = 1000.0 + HOUR
    assert issuer.knows("a")
    issuer.away = True
    issuer.now = 1000.0 + HOUR + DAY
    assert issuer.knows("a")


@pytest.mark.parametrize("away", [False, True])
def test_a_thousand_unknown_key_ids_fetch_at_most_once_in_thirty_seconds(issuer: Issuer, away: bool) -> None:
    issuer.away = away
    for number in range(1000):
        issuer.now = 1000.0 + number / 8
        assert issuer.cache.key(f"unknown-{number}") is None
    assert issuer.asked == [1000, 1030, 1060, 1090, 1120]
    assert issuer.knows("a")


def test_a_thousand_tokens_without_any_key_to_be_had_ask_no_more_often() -> None:
    issuer = Issuer("a")
    issuer.away = True
    for number in range(1000):
        issuer.now = 1000.0 + number / 16
        with pytest.raises(KeysUnavailable) as refusal:
            issuer.cache.key("a")
        assert refusal.value.retry_after == 30
    assert issuer.asked == [1000, 1030, 1060]


def test_many_at_once_share_one_fetch() -> None:
    issuer = Issuer("a")
    issuer.answering.clear()
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(issuer.cache.key, kid) for kid in ("a", "unknown") * 10]
        until(lambda: len(issuer.asked) > 0)
        time.sleep(0.05)
        issuer.answering.set()
        found = [got.result(5) for got in waiting]
    assert [key is not None for key in found] == [True, False] * 10
    assert (issuer.asked, issuer.most_at_once) == ([1000], 1)


def test_a_known_key_is_answered_at_once_while_a_refresh_runs(issuer: Issuer) -> None:
    issuer.now += 11 * MINUTE
    issuer.answering.clear()
    issuer.document = key_set("a", "b")
    for _ in range(50):
        assert issuer.cache.key("a") is not None
    until(lambda: len(issuer.asked) == 2)
    assert issuer.at_once == 1
    issuer.answering.set()
    issuer.settle()
    assert issuer.cache.key("b") is not None
    assert (len(issuer.asked), issuer.most_at_once) == (2, 1)


def test_a_new_key_is_found_at_its_first_use_and_the_old_one_serves_on(issuer: Issuer) -> None:
    issuer.document = key_set("a", "b")
    issuer.now += 29
    assert issuer.cache.key("b") is None
    issuer.now += 1
    assert issuer.cache.key("b") is not None
    assert issuer.cache.key("a") is not None
    assert issuer.asked == [1000, 1030]


def test_a_key_that_its_issuer_no_longer_shows_is_dropped_with_the_next_fetch(issuer: Issuer) -> None:
    issuer.document = key_set("b")
    issuer.now += 11 * MINUTE
    assert issuer.knows("a")
    assert issuer.cache.key("a") is None
    assert issuer.cache.key("b") is not None


NO_KEY_SETS: dict[str, Any] = {
    "nothing": {},
    "no keys": {"keys": []},
    "keys that are none": {"keys": ["a", 1, None]},
    "keys that are no list": {"keys": {"a": 1}},
    "keys that are a word": {"keys": "a"},
    "a key that no one can use": {"keys": [{"kty": "magic", "kid": "a"}]},
    "a key whose number is none": {"keys": [jwk("a", "RS256", n=7)]},
    "a key whose point is none": {"keys": [jwk("a", "ES256", x="AA")]},
    "keys without an id": {"keys": [{**jwk("a"), "kid": None}]},
}


@pytest.mark.parametrize("name", NO_KEY_SETS)
def test_what_is_no_key_set_takes_no_key_away(issuer: Issuer, name: str) -> None:
    issuer.document = NO_KEY_SETS[name]
    issuer.now += 30
    assert issuer.cache.key("b") is None
    assert len(issuer.asked) == 2
    assert issuer.knows("a")


@pytest.mark.parametrize("odd", [{"kty": "magic", "kid": "x"}, "x", jwk("x", "RS256", n=7), jwk("x", "ES256", x="AA")])
def test_a_key_that_cannot_be_used_spoils_none_beside_it(odd: Any) -> None:
    issuer = Issuer()
    issuer.document = {"keys": [odd, jwk("a")]}
    assert issuer.knows("a")
    assert not issuer.knows("x")
