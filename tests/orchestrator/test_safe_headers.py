"""What keeps a browser from making more of an answer than it is, and cookies from going astray."""

import runpy

import pytest
from django.conf import settings
from django.test import Client, override_settings

from orchestrator import login_settings


def test_over_https_the_cookies_are_this_hosts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_ENV", "production")
    read = runpy.run_path(login_settings.__file__)
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
