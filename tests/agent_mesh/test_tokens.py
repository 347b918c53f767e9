"""Where the client's token comes from, and when it is renewed."""

import base64
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from agent_mesh.problems import NoToken, Refused, Unreachable
from agent_mesh.tokens import ClientCredentials, StaticToken, TokenFile
from tests.agent_mesh.in_process import Wire, client
from tests.api import token

URL = "http://identity.example/realms/dev/protocol/openid-connect/token"


class Provider(httpx.BaseTransport):
    """An identity provider that counts what it grants."""

    def __init__(self, lasts: float = 300, failing: Callable[[], Any] | None = None) -> None:
        self.lasts, self.failing = lasts, failing
        self.asked: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked.append(request)
        if self.failing is not None:
            answer: httpx.Response = self.failing()
            return answer
        body = {"access_token": f"token-{len(self.asked)}", "token_type": "Bearer", "expires_in": self.lasts}
        return httpx.Response(200, json=body)


class Clock:
    """Seconds that pass when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def credentials(provider: Provider, clock: Clock | None = None, **more: Any) -> ClientCredentials:
    return ClientCredentials(URL, "finance-agent", "s:ecret", transport=provider, clock=clock or Clock(), **more)


def test_a_static_token_is_sent_as_it_is() -> None:
    assert StaticToken(" abc.def.ghi\n").token() == "abc.def.ghi"


@pytest.mark.parametrize("value", ["", "  \n", "two words", "Bearer abc", "abc\x00", "äbc"])
def test_what_cannot_be_a_token_is_not_sent_and_not_shown(value: str) -> None:
    with pytest.raises(NoToken) as told:
        StaticToken(value).token()
    assert not value.strip() or value not in str(told.value)


def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    source = TokenFile(file)
    assert source.token() == "first"
    file.write_text("second\n")
    assert source.token() == "second"


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoToken, match="cannot be read"):
        TokenFile(tmp_path / "none").token()


def test_credentials_are_exchanged_once_and_kept() -> None:
    provider = Provider()
    source = credentials(provider, scope="tasks", audience="goose-controller")
    assert [source.token() for _ in range(3)] == ["token-1"] * 3
    [asked] = provider.asked
    assert parse_qs(asked.content.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["tasks"],
        "audience": ["goose-controller"],
    }
    assert base64.b64decode(asked.headers["Authorization"].removeprefix("Basic ")) == b"finance-agent:s%3Aecret"


def test_it_is_renewed_before_it_ends() -> None:
    clock, provider = Clock(), Provider(lasts=300)
    source = credentials(provider, clock)
    source.token()
    clock.now += 269
    assert source.token() == "token-1"
    clock.now += 1
    assert source.token() == "token-2"


def test_a_short_one_is_renewed_half_way() -> None:
    clock, provider = Clock(), Provider(lasts=20)
    source = credentials(provider, clock)
    source.token()
    clock.now += 9
    assert source.token() == "token-1"
    clock.now += 1
    assert source.token() == "token-2"


def test_where_a_renewal_fails_the_old_one_is_used_until_it_ends() -> None:
    clock, provider = Clock(), Provider(lasts=300)
    source = credentials(provider, clock)
    source.token()
    provider.failing = lambda: httpx.Response(503)
    clock.now += 299
    assert source.token() == "token-1"
    clock.now += 1
    with pytest.raises(NoToken, match="503"):
        source.token()


def test_a_provider_that_is_away_is_told() -> None:
    def away() -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    with pytest.raises(Unreachable, match="cannot be reached"):
        credentials(Provider(failing=away)).token()


@pytest.mark.parametrize("body", [{"error": "invalid_client", "secret": "s:ecret"}, ["no"], "no"])
def test_a_refusal_tells_its_code_and_no_secret(body: Any) -> None:
    with pytest.raises(NoToken, match="401") as told:
        credentials(Provider(failing=lambda: httpx.Response(401, json=body))).token()
    assert "s:ecret" not in str(told.value)


@pytest.mark.parametrize("body", [{}, [], {"access_token": ""}, {"access_token": "a", "expires_in": "soon"}])
def test_an_answer_without_a_token_is_none(body: Any) -> None:
    with pytest.raises(NoToken):
        credentials(Provider(failing=lambda: httpx.Response(200, json=body))).token()


def test_many_at_once_share_one_exchange() -> None:
    provider, together = Provider(), Barrier(8)
    source, got = credentials(provider), list[str]()

    def take() -> None:
        together.wait()
        got.append(source.token())

    threads = [Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["token-1"] * 8
    assert len(provider.asked) == 1


@pytest.mark.django_db(transaction=True)
def test_one_that_the_service_refuses_is_not_used_again() -> None:
    provider = Provider()
    wire = Wire()
    me = client("", wire).acting_as(credentials(provider))
    for _ in range(2):
        with pytest.raises(Refused) as refusal:
            me.sessions.page()
        assert refusal.value.status == 401
    # A 401 is no passing trouble: each call is one attempt.
    assert wire.headers("Authorization") == ["Bearer token-1", "Bearer token-2"]


@pytest.mark.django_db(transaction=True)
def test_a_renewed_token_is_the_next_calls(tmp_path: Path) -> None:
    file = tmp_path / "token"
    me = client("").acting_as(TokenFile(file))
    file.write_text(token("alice"))
    assert me.sessions.open("finance")["created_by"] == "local|alice"
    file.write_text(token("bob"))
    assert me.sessions.open("finance")["created_by"] == "local|bob"


@pytest.mark.django_db(transaction=True)
def test_without_a_token_only_what_is_public_answers() -> None:
    wire = Wire()
    stranger = client("", wire)
    with pytest.raises(NoToken):
        stranger.sessions.page()
    assert wire.sent == []
