"""manage.py issue_token"""

import os
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from orchestrator import local_key
from orchestrator.actors import Actor, Identity, Kind, Origin, Role, Via
from orchestrator.auth import verify
from tests.api import Api

# No database: a token can be had while it is away.

HERE = Path(__file__).parents[2]


def issued(*arguments: str) -> str:
    out = StringIO()
    call_command("issue_token", "--subject", "alice", *arguments, stdout=out)
    return out.getvalue().splitlines()[-1]


def actor(*arguments: str) -> Actor:
    return verify(issued(*arguments), Origin(Via.API))


def claims(*arguments: str) -> dict[str, Any]:
    return dict(jwt.decode(issued(*arguments), options={"verify_signature": False}))


def test_the_token_is_the_last_line_and_needs_no_database() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.manage", "issue_token", "--subject", "alice"],
        cwd=HERE,
        env={**os.environ, "TEST_DATABASE_URL": "postgresql:///orchestrator?host=/nowhere"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert verify(done.stdout.splitlines()[-1], Origin(Via.API)).identity == Identity("local", "alice")


def test_speaks_for_an_agent_of_the_default_tenant_unless_told_otherwise() -> None:
    known = actor()
    assert (known.identity, known.kind, known.tenant) == (Identity("local", "alice"), Kind.PERSON, "default")
    assert known.roles == {Role.AGENT}
    assert not known.agent_roles


def test_carries_the_roles_agent_roles_and_tenant_that_are_asked_for() -> None:
    known = actor("--roles", "agent, auditor,,operator", "--agent-roles", "finance, manager", "--tenant", "acme")
    assert known.roles == {Role.AGENT, Role.AUDITOR, Role.OPERATOR}
    assert known.agent_roles == {"finance", "manager"}
    assert known.tenant == "acme"


def test_speaks_for_an_agent_that_acts_for_the_subject() -> None:
    known = actor("--act-subject", "bot")
    assert (known.identity, known.on_behalf_of) == (Identity("local", "bot"), Identity("local", "alice"))
    assert known.kind is Kind.AGENT


def test_speaks_for_a_service() -> None:
    assert actor("--service-account").kind is Kind.SERVICE_ACCOUNT


def test_lasts_an_hour_or_as_long_as_asked() -> None:
    for seconds, arguments in ((3600, ()), (60, ("--ttl", "60"))):
        said = claims(*arguments)
        assert said["exp"] - said["iat"] == seconds
        assert abs(said["iat"] - time.time()) < 5


def test_no_two_tokens_are_the_same() -> None:
    assert claims()["jti"] != claims()["jti"]


def test_is_refused_once_it_has_expired() -> None:
    token = issued("--ttl", "60")
    assert Api(token).get("/nowhere").status_code == 404
    key = local_key.load_or_make(settings.LOCAL_KEY_FILE)
    said = jwt.decode(token, options={"verify_signature": False}) | {"exp": int(time.time()) - 31}
    old = jwt.encode(said, key, "EdDSA", jwt.get_unverified_header(token))
    assert Api(old).get("/nowhere").status_code == 401


@pytest.mark.parametrize("ttl", ["0", "-1", "soon", "1.5"])
def test_refuses_a_time_that_is_none(ttl: str) -> None:
    with pytest.raises(CommandError):
        issued("--ttl", ttl)


def test_refuses_to_speak_for_nobody() -> None:
    with pytest.raises(CommandError):
        call_command("issue_token")


def test_the_signing_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "var" / "key.pem"
    first = local_key.load_or_make(path)
    assert path.stat().st_mode & 0o777 == 0o600
    again = local_key.load_or_make(path)
    assert local_key.key_id(again.public_key()) == local_key.key_id(first.public_key())
    assert [each.name for each in path.parent.iterdir()] == ["key.pem"]


def test_a_file_that_holds_another_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(ValueError):
        local_key.load_or_make(path)
