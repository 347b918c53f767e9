"""GET /metrics: who may scrape, and what is counted and measured."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from django.test import override_settings

from orchestrator import rate_limit
from orchestrator.routes import template
from orchestrator.scraping import measurements
from tests.api import Api, token
from tests.orchestrator.scrapes import TOKEN, Scrape, scraper

database = pytest.mark.django_db(transaction=True)
HERE = (ip_network("127.0.0.0/8"),)
ELSEWHERE = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))


@pytest.fixture(autouse=True)
def measured_anew() -> Iterator[None]:
    """No measurement of another test's is told."""
    measurements._taken_at = float("-inf")
    yield
    measurements._taken_at = float("-inf")
    rate_limit.of_failures.cache_clear()


def scrape(bearer: str | None = None, address: str = "127.0.0.1", **headers: str) -> Any:
    known = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    caller = Api(None)
    return caller.client.get("/metrics", headers={**known, **headers}, REMOTE_ADDR=address)


# Who may. No database but where one gets in: whoever reached it would answer 500.


@pytest.mark.parametrize("bearer", [None, "", TOKEN, "x"])
def test_where_nothing_says_who_may_nobody_may(bearer: str | None, operator: Api) -> None:
    for answer in (scrape(bearer), operator.get("/metrics")):
        assert answer.status_code == 403
        assert answer.json()["type"] == "/problems/forbidden"
        assert "orchestrator_" not in answer.content.decode()


@override_settings(METRICS_TOKEN=TOKEN)
def test_with_a_token_whoever_does_not_send_it_is_401_and_learns_nothing(operator: Api) -> None:
    bad = [scrape(bearer) for bearer in (TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), token(roles="operator"))]
    none = [scrape(None), scrape(""), scrape(Authorization=f"Basic {TOKEN}"), scrape(Authorization=TOKEN)]
    none += [Api(None).get(f"/metrics?token={TOKEN}"), scrape(Cookie=f"token={TOKEN}")]
    challenge = 'Bearer realm="orchestrator"'
    assert {answer.headers["WWW-Authenticate"] for answer in none} == {challenge}
    assert {answer.headers["WWW-Authenticate"] for answer in bad} == {f'{challenge}, error="invalid_token"'}
    for answer in (*bad, *none, operator.get("/metrics")):
        assert answer.status_code == 401
        assert "orchestrator_" not in answer.content.decode()


@database
@override_settings(METRICS_TOKEN=TOKEN)
def test_the_token_lets_in_from_anywhere() -> None:
    assert scrape(TOKEN, address="203.0.113.9").status_code == 200
    assert scrape(Authorization=f"bearer {TOKEN}").status_code == 200


@override_settings(METRICS_NETWORKS=ELSEWHERE)
def test_an_address_that_is_not_named_is_refused() -> None:
    for address in ("127.0.0.1", "::1", "192.0.3.1", "::ffff:127.0.0.1", "", "unix:", "192.0.2.1%eth0"):
        assert scrape(address=address).status_code == 403


@database
@override_settings(METRICS_NETWORKS=ELSEWHERE)
def test_an_address_that_is_named_needs_no_token() -> None:
    for address in ("192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1"):
        assert scrape(address=address).status_code == 200


@override_settings(METRICS_NETWORKS=HERE)
@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-Ip", "Forwarded", "Via"])
def test_what_an_unknown_proxy_on_a_named_address_hands_on_is_refused(header: str) -> None:
    assert scrape(**{header: "127.0.0.1"}).status_code == 403


@database
@override_settings(METRICS_NETWORKS=ELSEWHERE, TRUSTED_PROXIES=HERE)
def test_behind_a_known_proxy_the_callers_own_address_counts() -> None:
    assert scrape(**{"X-Forwarded-For": "192.0.2.7"}).status_code == 200
    for claimed in ("203.0.113.9", "192.0.2.7, 203.0.113.9"):
        assert scrape(**{"X-Forwarded-For": claimed}).status_code == 403


@override_settings(METRICS_NETWORKS=ELSEWHERE, METRICS_TOKEN=TOKEN)
def test_where_both_are_set_both_are_needed() -> None:
    assert scrape(TOKEN).status_code == 403
    assert scrape("x", address="192.0.2.7").status_code == 401


@override_settings(METRICS_TOKEN=TOKEN, AUTH_FAILURE_LIMIT=(2, 60))
def test_a_token_cannot_be_tried_for_long() -> None:
    rate_limit.of_failures.cache_clear()
    assert [scrape("x").status_code for _ in range(3)] == [401, 401, 429]


@override_settings(METRICS_TOKEN=TOKEN)
def test_takes_get_alone() -> None:
    assert Api(TOKEN).post("/metrics", {}).status_code == 405


# What it tells.


@database
@override_settings(METRICS_TOKEN=TOKEN)
def test_answers_in_the_format_that_is_asked_for() -> None:
    plain = scrape(TOKEN)
    assert plain.headers["Content-Type"].startswith("text/plain; version=")
    assert Scrape.of(plain).value("orchestrator_database_up") == 1
    told = scrape(TOKEN, Accept="application/openmetrics-text; version=1.0.0")
    assert told.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert told.content.endswith(b"# EOF\n")


@database
@override_settings(METRICS_TOKEN=TOKEN)
def test_requests_are_counted_by_route_and_never_by_path(agent: Api) -> None:
    before = Scrape.of(scraper().get("/metrics"))
    secret = "hunter2-in-a-path"
    agent.get(f"/sessions/{secret}")
    agent.get(f"/nowhere/{secret}")
    agent.send("BREW", f"/sessions/{secret}")
    Api(None).post(f"/tasks/{secret}/complete", {})
    Api(None).get(f"/problems/{secret}")
    body = {"agent_role": "finance"}
    for _ in range(2):
        agent.post("/sessions", body, idempotency_key="the-same")
    after = scraper().get("/metrics")
    assert secret not in after.content.decode()
    known = [
        ("GET", "/sessions/{id}", "400", 1),
        ("GET", "none", "404", 1),
        ("other", "/sessions/{id}", "405", 1),
        ("POST", "/tasks/{id}/complete", "401", 1),
        ("GET", "/problems/{slug}", "404", 1),
        ("POST", "/sessions", "201", 2),
    ]
    for method, route, status, count in known:
        labels = {"method": method, "route": route, "status": status}
        now, then = (one.value("orchestrator_http_requests_total", **labels) for one in (Scrape.of(after), before))
        assert now - then == count, labels
    taken = "orchestrator_http_request_duration_seconds"
    first = {"method": "POST", "route": "/sessions"}
    assert Scrape.of(after).value(f"{taken}_count", **first) - before.value(f"{taken}_count", **first) == 2
    assert Scrape.of(after).value(f"{taken}_bucket", le="+Inf", **first) >= 2
    for slug in ("invalid-request", "method-not-allowed", "unauthenticated"):
        name = "orchestrator_refusals_total"
        assert Scrape.of(after).value(name, problem=slug) - before.value(name, problem=slug) == 1
    assert Scrape.of(after).value("orchestrator_http_requests_in_progress") == 1


@pytest.mark.parametrize(
    ("route", "told"),
    [
        ("", "/"),
        ("^tasks/(?P<pk>[^/]+)/complete$", "/tasks/{id}/complete"),
        ("audit/^events/(?P<pk>[^/.]+)$", "/audit/events/{id}"),
        (r"^a\.b/(?P<one>\d+)/(?P<two>\w+)\Z", "/a.b/{one}/{two}"),
        ("problems/<slug:slug>", "/problems/{slug}"),
        ("admin/x/<path:object_id>/change/", "/admin/x/{object_id}/change/"),
    ],
)
def test_a_route_of_either_kind_is_told_as_a_template(route: str, told: str) -> None:
    assert template(route) == told


@database
@override_settings(METRICS_TOKEN=TOKEN)
def test_a_refusal_that_never_happened_is_told_as_zero() -> None:
    told = Scrape.of(scraper().get("/metrics"))
    assert {"lease-lost", "idempotency-key-mismatch", "internal-error"} <= {
        *told.labels("orchestrator_refusals_total", "problem")
    }
