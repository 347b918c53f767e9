"""What production refuses to start with: each finding has an id and a hint, and nothing unsafe is served."""

import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import Tags, run_checks
from django.test import override_settings

from orchestrator import env
from orchestrator.checks import production_is_safe

HERE = Path(__file__).resolve().parents[2]
ISSUER = {"issuer": "https://id.example", "audience": "us", "jwks_url": "https://id.example/keys", "tenants": ("acme",)}
SAFE: dict[str, Any] = {
    "ORCHESTRATOR_ENV": "production",
    "OIDC_ISSUERS": (ISSUER,),
    "ADMIN_PASSWORD_LOGIN": False,
    "DEBUG": False,
    "SECRET_KEY": "correct horse battery staple, and more",
    "ALLOWED_HOSTS": ["orchestrator.example"],
}
UNSAFE: dict[str, tuple[dict[str, Any], str]] = {
    "the local key": ({"OIDC_ISSUERS": ()}, "orchestrator.E001"),
    "an http issuer": ({"OIDC_ISSUERS": ({**ISSUER, "issuer": "http://id.example"},)}, "orchestrator.E002"),
    "an http issuer in capitals": ({"OIDC_ISSUERS": ({**ISSUER, "issuer": "HTTP://id.example"},)}, "orchestrator.E002"),
    "an issuer that is no address": ({"OIDC_ISSUERS": ({**ISSUER, "issuer": "id.example"},)}, "orchestrator.E002"),
    "an http key address": ({"OIDC_ISSUERS": ({**ISSUER, "jwks_url": "http://localhost/k"},)}, "orchestrator.E002"),
    "the second issuer by http": ({"OIDC_ISSUERS": (ISSUER, {**ISSUER, "issuer": "http://b"})}, "orchestrator.E002"),
    "DEBUG": ({"DEBUG": True}, "orchestrator.E003"),
    "a short secret": ({"SECRET_KEY": "x7Gq-2kD8!fLw0Zp3Vt6Rm9Yb1Nc4Hs"}, "orchestrator.E004"),
    "a secret of few characters": ({"SECRET_KEY": "abc" * 20}, "orchestrator.E004"),
    "any host": ({"ALLOWED_HOSTS": ["*"]}, "orchestrator.E005"),
    "any host beside one": ({"ALLOWED_HOSTS": ["orchestrator.example", "*"]}, "orchestrator.E005"),
    "the realm's client secret": ({"OIDC_RP_CLIENT_SECRET": "goose-controller-dev-secret"}, "orchestrator.E009"),
    "a password of the realm": ({"REDIS_URL": "rediss://:dev-agent-password@redis:6379/0"}, "orchestrator.E009"),
    "no host": ({"ALLOWED_HOSTS": []}, "orchestrator.E005"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_finds_what_is_unsafe_in_production_and_says_what_to_do(name: str) -> None:
    changed, number = UNSAFE[name]
    with override_settings(**SAFE):
        assert production_is_safe(None) == []
    with override_settings(**SAFE), override_settings(**changed):
        (found,) = production_is_safe(None)
        assert found in run_checks(tags=[Tags.security])
    assert (found.id, found.is_serious()) == (number, True)
    assert found.msg
    assert found.hint
    assert SAFE["SECRET_KEY"] not in f"{found.msg}{found.hint}"


@pytest.mark.parametrize(
    ("address", "unencrypted"),
    [
        ("postgresql://o@db.example/o", True),
        ("postgresql://o@10.0.0.7/o?sslmode=prefer", True),
        ("postgresql://o@10.0.0.7/o?sslmode=verify-full", False),
        ("postgresql://o@db.example/o?sslmode=require", False),
        ("postgresql://o@127.0.0.1/o", False),
        ("postgresql://o@localhost/o", False),
        ("postgresql://o@/o?host=/run/postgresql", False),
        ("postgresql:///o", False),
    ],
)
def test_warns_of_a_database_elsewhere_that_is_spoken_to_unencrypted(
    monkeypatch: pytest.MonkeyPatch, address: str, unencrypted: bool
) -> None:
    monkeypatch.setenv("DATABASE_URL", address)
    read = env.database("DATABASE_URL")
    monkeypatch.setitem(settings.DATABASES["default"], "HOST", read["HOST"])
    monkeypatch.setitem(settings.DATABASES["default"], "OPTIONS", read["OPTIONS"])
    with override_settings(**SAFE):
        found = production_is_safe(None)
    assert [(one.id, one.is_serious()) for one in found] == [("orchestrator.W002", False)] * unencrypted


@pytest.mark.parametrize(
    ("address", "unencrypted"),
    [
        ("redis://cache.example:6379/0", True),
        ("rediss://cache.example:6379/0", False),
        ("redis://[::1]:6379/0", False),
        ("unix:///run/redis.sock", False),
        ("", False),
    ],
)
def test_warns_of_a_redis_elsewhere_that_is_spoken_to_unencrypted(address: str, unencrypted: bool) -> None:
    with override_settings(**SAFE, REDIS_URL=address):
        found = production_is_safe(None)
    assert [(one.id, one.is_serious()) for one in found] == [("orchestrator.W003", False)] * unencrypted


@pytest.mark.parametrize("name", UNSAFE)
def test_finds_nothing_of_it_in_development(name: str) -> None:
    with override_settings(**SAFE), override_settings(**UNSAFE[name][0], ORCHESTRATOR_ENV="development"):
        assert production_is_safe(None) == []


def test_a_key_address_may_be_left_to_the_discovery() -> None:
    with override_settings(**SAFE), override_settings(OIDC_ISSUERS=({**ISSUER, "jwks_url": ""},)):
        assert production_is_safe(None) == []


# As an operator starts it.


def started(tmp_path: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, in production, whose environment is safe but for the changes."""
    base = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    env = {
        **base,
        "ORCHESTRATOR_ENV": "production",
        "ORCHESTRATOR_VAR": str(tmp_path),
        "DATABASE_URL": f"postgresql:///orchestrator?host={tmp_path}",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "ALLOWED_HOSTS": "orchestrator.example",
        "OIDC_ISSUER_URL": "https://id.example/realms/dev",
        "OIDC_AUDIENCE": "orchestrator",
        **changes,
    }
    return subprocess.run([sys.executable, *arguments], cwd=HERE, env=env, capture_output=True, text=True, check=False)


def test_the_deploy_check_is_clean_where_everything_is_set(tmp_path: Path) -> None:
    ended = started(tmp_path, "manage.py", "check", "--deploy", "--fail-level", "WARNING")
    assert ended.returncode == 0, ended.stderr
    assert "no issues" in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_deploy_check_names_everything_that_is_unsafe_at_once(tmp_path: Path) -> None:
    unsafe = {"OIDC_ISSUER_URL": "http://id.example", "SECRET_KEY": "short", "ALLOWED_HOSTS": "*"}
    ended = started(tmp_path, "manage.py", "check", "--deploy", **unsafe)
    assert ended.returncode == 1
    for number in ("E002", "E004", "E005"):
        assert f"(orchestrator.{number})" in ended.stderr
    assert ended.stderr.count("HINT:") >= 3


def test_no_command_works_in_production_while_it_is_unsafe(tmp_path: Path) -> None:
    safe = started(tmp_path, "manage.py", "expire_sessions")
    assert "orchestrator.E" not in safe.stderr
    unsafe = started(tmp_path, "manage.py", "expire_sessions", OIDC_ISSUER_URL="")
    assert unsafe.returncode != 0
    assert "(orchestrator.E001)" in unsafe.stderr


SERVE = "import orchestrator.wsgi; print('serving')"


def test_serves_in_production_where_everything_is_set(tmp_path: Path) -> None:
    ended = started(tmp_path, "-c", SERVE)
    assert (ended.returncode, ended.stdout) == (0, "serving\n"), ended.stderr


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"OIDC_ISSUER_URL": ""}, "E001"),
        ({"OIDC_JWKS_URL": "http://keycloak:8080/certs"}, "E002"),
        ({"SECRET_KEY": "short"}, "E004"),
        ({"ALLOWED_HOSTS": "*"}, "E005"),
    ],
)
def test_serves_nothing_in_production_that_is_unsafe(tmp_path: Path, changes: dict[str, str], number: str) -> None:
    ended = started(tmp_path, "-c", SERVE, **changes)
    assert ended.returncode != 0
    assert ended.stdout == ""
    assert f"orchestrator.{number}: " in ended.stderr


def test_serves_with_the_local_key_in_development(tmp_path: Path) -> None:
    ended = started(tmp_path, "-c", SERVE, OIDC_ISSUER_URL="", ORCHESTRATOR_ENV="development")
    assert (ended.returncode, ended.stdout) == (0, "serving\n"), ended.stderr
