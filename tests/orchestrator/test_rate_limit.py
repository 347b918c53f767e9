"""How often a subject may call, and how often an address may fail to say who it is."""

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.test import RequestFactory

from orchestrator import rate_limit
from orchestrator.addresses import client_address, counted_address
from orchestrator.buckets import Buckets, Rate
from orchestrator.redis import Redis
from orchestrator.settings_source import settings_of
from tests.api import Api, token
from tests.faults.valkey import Valkey, valkey, with_redis
from tests.orchestrator.tokens import saying

# No database: nobody here gets further than the limit and a path that is not there.


class Clock:
    """Stands still until it is moved."""

    now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def counted_anew() -> Iterator[None]:
    """As in a process that has just been started, before and after."""
    for once in (rate_limit.of_subjects, rate_limit.of_failures):
        once.cache_clear()
    yield
    for once in (rate_limit.of_subjects, rate_limit.of_failures):
        once.cache_clear()


@pytest.fixture
def three_a_minute(settings: Any) -> Clock:
    """Three calls a minute for each subject, by a clock that the test moves."""
    settings.RATE_LIMIT = (3, 60)
    buckets = rate_limit.of_subjects()
    assert buckets is not None
    buckets._clock = clock = Clock()
    return clock


@pytest.fixture
def three_failures_a_minute(settings: Any) -> Clock:
    settings.AUTH_FAILURE_LIMIT = (3, 60)
    buckets = rate_limit.of_failures()
    assert buckets is not None
    buckets._clock = clock = Clock()
    return clock


@pytest.fixture(scope="module")
def running() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


@pytest.fixture
def server(running: Valkey) -> Valkey:
    running.flush()
    return running


def called(bearer: str | None, times: int, **headers: str) -> list[int]:
    """What so many calls are answered; 404 is what a call that is let in gets."""
    api = Api(bearer)
    return [api.get("/nowhere", **headers).status_code for _ in range(times)]


# Subjects.


def test_nothing_is_limited_where_the_limit_is_off() -> None:
    assert called(token(), 50) == [404] * 50
    answer = Api(token()).get("/nowhere")
    assert not {"RateLimit", "RateLimit-Policy", "Retry-After"} & set(answer.headers)


def test_every_answer_tells_what_is_left_and_the_one_too_many_when_to_come_again(three_a_minute: Clock) -> None:
    api = Api(token())
    for left, wait in ((2, 0), (1, 0), (0, 20)):
        answer = api.get("/nowhere")
        assert answer.status_code == 404
        assert answer.headers["RateLimit-Policy"] == '"subject";q=3;w=60'
        assert answer.headers["RateLimit"] == f'"subject";r={left};t={wait}'
        assert "Retry-After" not in answer.headers
    refused = api.get("/nowhere")
    assert refused.status_code == 429
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.headers["Retry-After"] == "20"
    assert refused.headers["RateLimit-Policy"] == '"subject";q=3;w=60'
    assert refused.headers["RateLimit"] == '"subject";r=0;t=20'
    assert (refused.json()["type"], refused.json()["retry_after"]) == ("/problems/too-many-requests", 20)


def test_a_bucket_fills_with_time_and_not_beyond_its_brim(three_a_minute: Clock) -> None:
    assert called(token(), 4) == [404, 404, 404, 429]
    three_a_minute.now += 19.9
    assert called(token(), 1) == [429]
    three_a_minute.now += 0.2
    assert called(token(), 2) == [404, 429]
    three_a_minute.now += 3600
    assert called(token(), 4) == [404, 404, 404, 429]


def test_each_subject_of_each_tenant_has_a_bucket_of_its_own(three_a_minute: Clock) -> None:
    assert called(token("alice"), 4) == [404, 404, 404, 429]
    # Another token of the same subject is no way round, nor are other rights.
    assert called(token("alice", ttl=120, roles="operator", agent_roles=""), 1) == [429]
    assert called(token("bob"), 4) == [404, 404, 404, 429]
    assert called(token("alice", tenant="acme"), 4) == [404, 404, 404, 429]
    # With `act` the agent is who calls.
    assert called(token("alice", act_subject="bot"), 4) == [404, 404, 404, 429]
    assert called(saying(sub="carol", act={"sub": "bot", "iss": "elsewhere"}, tenant="default")(), 1) == [404]


def test_names_that_run_together_share_no_bucket(three_a_minute: Clock) -> None:
    assert called(token("c", tenant="ab"), 4)[-1] == 429
    assert called(token("bc", tenant="a"), 1) == [404]


def test_public_paths_are_not_limited(three_a_minute: Clock) -> None:
    assert called(token(), 4)[-1] == 429
    answer = Api(token()).get("/status")
    assert (answer.status_code, "RateLimit" in answer.headers) == (200, False)


@pytest.mark.parametrize(
    "rate", [(1, 1), (1, 3), (1, 49), (3, 7), (7, 3), (600, 60), (10, 86_400), (999, 1000)], ids=str
)
def test_who_waits_as_long_as_told_is_let_in(rate: tuple[int, int]) -> None:
    clock = Clock()
    buckets = Buckets(Rate(*rate), None, clock)
    taken = [buckets.take("a") for _ in range(rate[0] + 1)]
    assert [one.allowed for one in taken] == [True] * rate[0] + [False]
    for _ in range(100):
        clock.now += buckets.take("a").retry_after
        assert buckets.take("a").allowed


def test_a_process_keeps_no_more_than_so_many_buckets_of_its_own() -> None:
    buckets = Buckets(Rate(1, 3600), None, Clock())
    assert [buckets.take("first").allowed for _ in range(2)] == [True, False]
    for number in range(20_000):
        assert buckets.take(str(number)).allowed
    assert len(buckets._own) == 20_000
    assert not buckets.take("19999").allowed
    assert buckets.take("first").allowed


# Failed authentications.


def test_failed_authentications_are_limited_by_address_and_good_tokens_still_pass(
    three_failures_a_minute: Clock,
) -> None:
    assert called("nonsense", 2) + called(None, 2) == [401, 401, 401, 429]
    refused = Api("nonsense").get("/nowhere")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "20")
    assert refused.json()["type"] == "/problems/too-many-requests"
    assert called(token(), 10) == [404] * 10
    three_failures_a_minute.now += 20
    assert called("nonsense", 2) == [401, 429]


def test_a_good_token_is_no_failure(three_failures_a_minute: Clock) -> None:
    assert called(token(), 10) == [404] * 10
    assert called("nonsense", 4) == [401, 401, 401, 429]


def test_an_address_that_is_only_claimed_is_no_way_round(three_failures_a_minute: Clock) -> None:
    assert called("nonsense", 4)[-1] == 429
    assert called("nonsense", 1, X_Forwarded_For="203.0.113.7") == [429]


def test_behind_a_proxy_of_ours_each_address_has_a_bucket_of_its_own(
    three_failures_a_minute: Clock, settings: Any
) -> None:
    settings.TRUSTED_PROXIES = (ip_network("127.0.0.0/8"),)
    assert called("nonsense", 4, X_Forwarded_For="203.0.113.7") == [401, 401, 401, 429]
    assert called("nonsense", 1, X_Forwarded_For="203.0.113.8") == [401]
    # Whatever a stranger writes in front of its own address.
    assert called("nonsense", 1, X_Forwarded_For="198.51.100.1, 203.0.113.7") == [429]


def test_ipv6_addresses_of_one_64_share_a_bucket_and_mapped_ones_are_ipv4(
    three_failures_a_minute: Clock, settings: Any
) -> None:
    settings.TRUSTED_PROXIES = (ip_network("127.0.0.0/8"),)

    def failed(*addresses: str) -> list[int]:
        return [called("nonsense", 1, X_Forwarded_For=address)[0] for address in addresses]

    assert failed("2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::", "2001:db8::4") == [401, 401, 401, 429]
    assert failed("2001:db8:0:1::1", "2001:db8:1::1") == [401, 401]
    assert failed("203.0.113.7", "::ffff:203.0.113.7", "::ffff:cb00:7107", "203.0.113.7") == [401, 401, 401, 429]
    assert failed("::ffff:203.0.113.8", "203.0.113.9") == [401, 401]


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::1", "::"),
        (None, None),
    ],
)
def test_an_ipv6_address_counts_as_its_64(address: str | None, counted: str | None) -> None:
    assert counted_address(address) == counted


ADDRESSES: list[tuple[str, str, str | None]] = [
    ("198.51.100.9", "", "198.51.100.9"),
    ("198.51.100.9", "203.0.113.7", "198.51.100.9"),
    ("10.0.0.1", "", "10.0.0.1"),
    ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
    ("10.0.0.1", "1.1.1.1, 203.0.113.7", "203.0.113.7"),
    ("10.0.0.1", "203.0.113.7, 10.0.0.2", "203.0.113.7"),
    ("10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.3"),
    ("10.0.0.1", "203.0.113.7, nonsense", None),
    ("10.0.0.1", "nonsense, 203.0.113.7", "203.0.113.7"),
    ("10.0.0.1", "2001:DB8::0:1", "2001:db8::1"),
    ("fd00::1", "203.0.113.7", "203.0.113.7"),
    # As a socket for both kinds of addresses has them.
    ("::ffff:203.0.113.7", "", "203.0.113.7"),
    ("::ffff:10.0.0.1", "203.0.113.7", "203.0.113.7"),
    ("10.0.0.1", "::FFFF:cb00:7107", "203.0.113.7"),
    ("10.0.0.1", "fe80::1%eth0", None),
    ("", "203.0.113.7", "203.0.113.7"),
    ("", "", None),
]


@pytest.mark.parametrize(("peer", "forwarded", "address"), ADDRESSES)
def test_a_forwarded_address_is_believed_from_our_own_proxies_alone(
    peer: str, forwarded: str, address: str | None, settings: Any
) -> None:
    settings.TRUSTED_PROXIES = (ip_network("10.0.0.0/24"), ip_network("fd00::/8"))
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    assert client_address(RequestFactory().get("/", headers=headers, REMOTE_ADDR=peer)) == address


# Redis.


def test_one_bucket_is_shared_by_every_process_in_one_round_trip_each(server: Valkey) -> None:
    here, there = (Buckets(Rate(5, 3600), Redis(lambda: server.client)) for _ in range(2))
    assert here.take("a").left == 4
    server.calls()
    assert [buckets.take("a").left for buckets in (there, here, there)] == [3, 2, 1]
    told = server.calls()
    assert (told.pop("evalsha"), told.get("eval")) == (3, None)
    assert set(told) <= {"time", "hmget", "hset", "expire"}
    assert [buckets.take("a").allowed for buckets in (here, there, here)] == [True, False, False]
    assert here.take("another").allowed


def test_a_shared_bucket_fills_and_goes_when_it_is_full(server: Valkey) -> None:
    buckets = Buckets(Rate(2, 100), Redis(lambda: server.client))
    taken = [buckets.take("a") for _ in range(3)]
    assert [(one.allowed, one.left, one.retry_after) for one in taken] == [(True, 1, 0), (True, 0, 50), (False, 0, 50)]
    assert 100 <= int(str(server.client.ttl("a"))) <= 101
    # As if it had last been asked fifty seconds ago.
    server.client.hincrbyfloat("a", "at", -50)
    assert [buckets.take("a").allowed for _ in range(2)] == [True, False]


def test_a_clock_that_was_set_back_takes_no_tokens(server: Valkey) -> None:
    buckets = Buckets(Rate(3, 60), Redis(lambda: server.client))
    assert buckets.take("a").left == 2
    server.client.hincrbyfloat("a", "at", 3600)
    assert [buckets.take("a").allowed for _ in range(3)] == [True, True, False]


def test_without_redis_each_process_counts_for_itself(server: Valkey) -> None:
    def away() -> Any:
        raise OSError("away")

    buckets = [Buckets(Rate(2, 3600), Redis(away)) for _ in range(2)]
    for one in buckets:
        assert [one.take("a").allowed for _ in range(3)] == [True, True, False]
    assert not server.client.exists("a")


def test_the_limit_holds_while_redis_is_frozen_and_costs_no_answer(server: Valkey, settings: Any) -> None:
    settings.RATE_LIMIT = (3, 3600)
    with with_redis(server.url):
        assert called(token(), 2) == [404, 404]
        server.freeze()
        try:
            assert called(token(), 4) == [404, 404, 404, 429]
        finally:
            server.thaw()


def test_redis_learns_no_names(server: Valkey, settings: Any) -> None:
    settings.RATE_LIMIT, settings.AUTH_FAILURE_LIMIT = (3, 3600), (3, 3600)
    with with_redis(server.url):
        assert called(token("alice", tenant="acme"), 4) == [404, 404, 404, 429]
        assert called("nonsense", 4) == [401, 401, 401, 429]
        found: Any = server.client.keys()
    names = [key.decode() for key in found]
    assert sorted(name.rpartition(":")[0] for name in names) == ["rate:failure", "rate:subject"]
    assert not [name for name in names if any(word in name for word in ("alice", "acme", "127.0.0.1"))]


def test_subjects_are_limited_unless_a_setting_says_otherwise() -> None:
    source = Path(__file__).parents[2] / "orchestrator" / "settings.py"
    (setting,) = (one for one in settings_of(source) if one.name == "RATE_LIMIT")
    assert setting.default == "6000/60"
