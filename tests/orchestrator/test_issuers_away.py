"""Issuers whose keys are not to be had: who is let in meanwhile, and how often the issuer is asked."""

from collections.abc import Iterator

import pytest

from tests.api import Api
from tests.orchestrator.key_server import KeyServer, jwk, serving, trusting

# No database: keys are found without it.


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with serving() as running:
        running.shows(jwk("key-1"))
        yield running


def test_without_issuer_and_key_a_caller_is_told_to_come_again(server: KeyServer) -> None:
    token = server.token()
    with trusting(server.issuer()):
        assert Api(token).get("/nowhere").status_code == 404
    server.answers.clear()
    with trusting(server.issuer()):
        answer = Api(server.token(sub="bob")).get("/nowhere")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/service-unavailable"


def test_while_the_issuer_is_away_known_keys_let_in_and_unknown_ones_do_not(server: KeyServer) -> None:
    with trusting(server.issuer()):
        assert Api(server.token()).get("/nowhere").status_code == 404
        server.silent = True
        assert Api(server.token(sub="bob")).get("/nowhere").status_code == 404
        assert Api(server.token(sub="bob", kid="other")).get("/nowhere").status_code == 401
        assert server.asked == ["/keys"]


def test_many_callers_cost_one_fetch(server: KeyServer) -> None:
    with trusting(server.issuer()):
        for number in range(20):
            assert Api(server.token(sub=f"caller-{number}")).get("/nowhere").status_code == 404
    assert server.asked == ["/keys"]
