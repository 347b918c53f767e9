"""docker/make-secrets.sh: what compose.yml needs, made once."""

import json
import shutil
import subprocess
from pathlib import Path

from orchestrator.checks import KNOWN_SECRETS
from tests.gunicorn_server import HERE

REALM = json.loads((HERE / "docker" / "keycloak" / "realm-dev.json").read_text())


def copied(folder: Path) -> Path:
    """Its folder, with the realm and without secrets."""
    shutil.copy(HERE / "docker" / "make-secrets.sh", folder)
    shutil.copytree(HERE / "docker" / "keycloak", folder / "keycloak")
    return folder


def made(folder: Path, *options: str) -> dict[str, str]:
    subprocess.run(["sh", folder / "make-secrets.sh", *options], check=True, capture_output=True)
    return {path.name: path.read_text() for path in (folder / "secrets").iterdir()}


def test_makes_each_once_and_keeps_what_is_there(tmp_path: Path) -> None:
    first = made(copied(tmp_path), "--development")
    assert made(tmp_path, "--development") == made(tmp_path) == first
    random = [first[name] for name in first if name.endswith(("password", "key", "token"))]
    assert len(set(random)) == len(random)
    assert all(len(secret) == 64 for secret in random)
    assert first["service_password"] in first["database_url"]
    assert first["worker_password"] in first["worker_database_url"]
    assert first["owner_password"] in first["database_owner_url"]
    assert first["redis_password"] in first["redis_url"]
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    (tmp_path / "secrets" / "oidc_client_secret").unlink()
    (tmp_path / "secrets" / "oidc_client_secret").write_text("our own")
    assert made(tmp_path)["oidc_client_secret"] == "our own"


def test_those_of_the_operator_are_the_containers_to_read_and_nobody_else_s(tmp_path: Path) -> None:
    copied(tmp_path)
    folder = tmp_path / "secrets"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "tls_key").write_text("our own key")
    (folder / "tls_key").chmod(0o600)
    (folder / "oidc_client_secret").write_text("our own")
    assert made(tmp_path)["tls_key"] == "our own key"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}


def realm_secrets() -> set[str]:
    clients = {client["secret"] for client in REALM["clients"] if "secret" in client}
    return clients | {known["value"] for user in REALM["users"] for known in user.get("credentials", [])}


def test_a_secret_that_everybody_knows_is_taken_for_development_alone(tmp_path: Path) -> None:
    copied(tmp_path)
    refused = subprocess.run(["sh", tmp_path / "make-secrets.sh"], check=False, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "oidc_client_secret" in refused.stderr
    written = {path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert not any(known in text for text in written for known in realm_secrets())
    (client,) = (one for one in REALM["clients"] if one["clientId"] == "goose-controller")
    assert made(tmp_path, "--development")["oidc_client_secret"] == client["secret"]


def test_production_knows_every_secret_of_the_development_realm() -> None:
    assert realm_secrets() == KNOWN_SECRETS
