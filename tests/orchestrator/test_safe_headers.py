"""What keeps a browser from making more of an answer than it is, and cookies from going astray."""

import runpy

import pytest
from django.conf import settings
from django.test import Client, override_settings

from orchestrator import login_settings


def test_over_https_the_cookies_are_this_hosts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_ENV", "production")
    read = runpy.run_path(login_settings.__file__)
    # Set with SESSION_COOKIE_SECURE; see test_login_callback.py for the rest.
    assert read["LOGIN_COOKIE_NAME"].startswith("__Host-")
    for cookie in ("SESSION", "CSRF"):
        assert read[f"{cookie}_COOKIE_NAME"].startswith("__Host-")
        assert read[f"{cookie}_COOKIE_SECURE"]
        # What the prefix asks for besides: the whole host, and no other.
        assert getattr(settings, f"{cookie}_COOKIE_PATH") == "/"
        assert getattr(settings, f"{cookie}_COOKIE_DOMAIN") is None
        assert getattr(settings, f"{cookie}_COOKIE_SAMESITE") == "Lax"
        assert getattr(settings, f"{cookie}_COOKIE_HTTPONLY")


@pytest.mark.parametrize("below", [False, True])
def test_over_https_browsers_are_told_to_stay_there(below: bool) -> None:
    with override_settings(SECURE_HSTS_INCLUDE_SUBDOMAINS=below, SECURE_HSTS_SECONDS=31_536_000):
        by_https = Client().get("/status", secure=True)
        by_http = Client().get("/status")
    assert by_https["Strict-Transport-Security"] == "max-age=31536000" + "; includeSubDomains" * below
    assert "Strict-Transport-Security" not in by_http


@pytest.mark.parametrize("path", ["/status", "/nothing", "/problems", "/api-docs", "/admin/login/", "/static/nothing"])
def test_every_answer_has_a_policy_that_leaves_nothing_open(path: str) -> None:
    policy = dict(part.strip().partition(" ")[::2] for part in Client().get(path)["Content-Security-Policy"].split(";"))
    assert (policy["default-src"], policy["base-uri"], policy["frame-ancestors"]) == ("'none'",) * 3
    assert policy["form-action"] in ("'none'", "'self'")
    assert "object-src" not in policy


@pytest.mark.parametrize("path", ["/status", "/sessions", "/api-docs/openapi.json", "/problems"])
def test_no_other_origin_is_let_read_an_answer(path: str) -> None:
    asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "GET"}
    for answer in (Client().get(path, headers=asked), Client().options(path, headers=asked)):
        assert [name for name in answer.headers if name.startswith("Access-Control-")] == []


@pytest.mark.parametrize("path", ["/status", "/sessions", "/admin/login/", "/problems"])
def test_nothing_is_traced_back(path: str) -> None:
    answer = Client().trace(path, headers={"X-Secret": "told back"})
    assert answer.status_code in (401, 405)
    assert b"told back" not in answer.content


def test_no_cookie_is_longer_than_a_browser_keeps() -> None:
    for cookie in Client().get("/admin/login/").cookies.values():
        assert len(cookie.key) + len(cookie.value) <= 4096


@pytest.mark.parametrize("path", ["/status", "/sessions", "/nothing", "/problems", "/admin/login/"])
def test_no_answer_is_kept_on_the_way_or_in_a_browser(path: str) -> None:
    said = Client().get(path)["Cache-Control"]
    assert "no-store" in said or said == "private, no-cache"


@pytest.mark.parametrize("path", ["/status", "/sessions", "/admin/login/"])
def test_a_call_by_plain_http_is_led_nowhere(path: str) -> None:
    """Whoever sends a token unencrypted by mistake is to notice."""
    assert Client().get(path, headers={"Authorization": "Bearer a"}).status_code in (200, 401)
