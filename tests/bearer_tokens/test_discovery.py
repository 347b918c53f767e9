"""What an issuer publishes: which documents and addresses are taken, and how long anybody waits for them."""

import time
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError

import pytest

from bearer_tokens import discovery
from bearer_tokens.discovery import address_in, discovered, fetch_json, key_fetcher
from bearer_tokens.jwks_cache import KeyCache, KeysUnavailable
from tests.orchestrator.key_server import KeyServer, jwk, key_set, serving


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with serving() as running:
        running.shows(jwk("key-1"))
        yield running


def test_keys_are_found_at_the_address_that_is_configured(server: KeyServer) -> None:
    assert KeyCache(key_fetcher(server.address, server.jwks_url)).key("key-1") is not None
    assert server.asked == ["/keys"]


def test_keys_are_found_by_discovery(server: KeyServer) -> None:
    assert KeyCache(key_fetcher(server.address, "")).key("key-1") is not None
    assert server.asked == ["/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize("issuer", ["https://evil.example", None, 7, "with a slash"])
def test_a_discovery_document_of_another_issuer_is_refused(server: KeyServer, issuer: Any) -> None:
    assert discovered(server.address)["issuer"] == server.address
    said = f"{server.address}/" if issuer == "with a slash" else issuer
    server.says("/.well-known/openid-configuration", {"issuer": said, "jwks_uri": server.jwks_url})
    with pytest.raises(ValueError, match="another issuer"):
        discovered(server.address)
    with pytest.raises(KeysUnavailable):
        KeyCache(key_fetcher(server.address, "")).key("key-1")
    assert "/keys" not in server.asked


NO_ADDRESSES = (None, 7, "", "/keys", "https:///keys", "file:///etc/hostname", "ftp://id.example/keys", "data:,{}")


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_discovery_leads_to_no_address_but_an_http_one(server: KeyServer, address: Any) -> None:
    server.says("/.well-known/openid-configuration", {"issuer": server.address, "jwks_uri": address})
    with pytest.raises(ValueError, match="jwks_uri"):
        key_fetcher(server.address, "")()
    assert server.asked == ["/.well-known/openid-configuration"]


@pytest.mark.parametrize("address", ["http://id.example/keys", "http://127.0.0.1/keys", "HTTP://id.example/keys"])
def test_discovery_of_an_https_issuer_leads_to_no_plain_http(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    issuer, asked = "https://id.example", list[str]()

    def fetch(url: str) -> dict[str, Any]:
        asked.append(url)
        return {"issuer": issuer, "jwks_uri": address}

    monkeypatch.setattr(discovery, "fetch_json", fetch)
    with pytest.raises(ValueError, match="jwks_uri of the discovery document is no https address"):
        key_fetcher(issuer, "")()
    assert asked == ["https://id.example/.well-known/openid-configuration"]
    assert address_in({"issuer": "http://id.example", "jwks_uri": address}, "jwks_uri") == address


@pytest.mark.parametrize("issuer", ["id.example", "HTTPS://id.example", "ftp://id.example", ""])
def test_an_issuer_that_is_not_of_plain_http_is_held_to_https(issuer: str) -> None:
    with pytest.raises(ValueError, match="no https address"):
        address_in({"issuer": issuer, "jwks_uri": "http://id.example/keys"}, "jwks_uri")
    assert (
        address_in({"issuer": issuer, "jwks_uri": "https://id.example/keys"}, "jwks_uri") == "https://id.example/keys"
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused(server: KeyServer, status: int) -> None:
    server.says("/moved", {}, status, Location=server.jwks_url)
    with pytest.raises(HTTPError):
        fetch_json(f"{server.address}/moved")
    assert server.asked == ["/moved"]
    assert "keys" in fetch_json(server.jwks_url)


@pytest.mark.parametrize("status", [204, 400, 404, 500, 503])
def test_an_answer_that_is_no_success_is_refused(server: KeyServer, status: int) -> None:
    server.says("/keys", b"" if status == 204 else key_set("key-1"), status)
    with pytest.raises(KeysUnavailable):
        KeyCache(key_fetcher(server.address, server.jwks_url)).key("key-1")


NO_OBJECTS = {
    "no JSON": b"<html>",
    "a list": b"[]",
    "a word": b'"keys"',
    "nothing": b"",
    "not UTF-8": b'{"keys": "\xff"}',
    "cut off": b'{"keys": [',
    "nested deep": b'{"keys":' + b"[" * 200_000,
}


@pytest.mark.parametrize("name", NO_OBJECTS)
def test_what_is_no_json_object_is_refused(server: KeyServer, name: str) -> None:
    server.says("/keys", NO_OBJECTS[name])
    with pytest.raises(ValueError):
        fetch_json(server.jwks_url)
    with pytest.raises(KeysUnavailable):
        KeyCache(key_fetcher(server.address, server.jwks_url)).key("key-1")


def test_a_document_of_more_than_a_megabyte_is_refused(server: KeyServer) -> None:
    def filled(size: int) -> bytes:
        return b'{"a":"' + b"x" * (size - 8) + b'"}'

    server.says("/keys", filled(1024 * 1024))
    assert list(fetch_json(server.jwks_url)) == ["a"]
    server.says("/keys", filled(1024 * 1024 + 1))
    with pytest.raises(ValueError, match="too large"):
        fetch_json(server.jwks_url)


def test_a_proxy_of_the_environment_is_passed_by(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert "keys" in fetch_json(server.jwks_url)


def test_an_issuer_that_does_not_answer_is_waited_for_two_seconds_at_most(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert discovery.TIMEOUT_SECONDS == 2
    monkeypatch.setattr(discovery, "TIMEOUT_SECONDS", 0.1)
    assert "keys" in fetch_json(server.jwks_url)
    server.silent = True
    started = time.monotonic()
    with pytest.raises(OSError, match="timed out"):
        fetch_json(server.jwks_url)
    assert time.monotonic() - started < 5


def test_an_issuer_that_answers_drop_by_drop_is_waited_for_no_longer(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "TIMEOUT_SECONDS", 0.2)
    server.drip = 0.05
    started = time.monotonic()
    with pytest.raises(OSError, match="timed out"):
        fetch_json(server.jwks_url)
    assert time.monotonic() - started < 5
