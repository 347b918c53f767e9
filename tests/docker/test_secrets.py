"""docker/make-secrets.sh: what compose.yml needs, made once."""

import shutil
import subprocess
from pathlib import Path

from tests.gunicorn_server import HERE


def made(folder: Path) -> dict[str, str]:
    subprocess.run(["sh", folder / "make-secrets.sh"], check=True, capture_output=True)
    return {path.name: path.read_text() for path in (folder / "secrets").iterdir()}


def test_makes_each_once_and_keeps_what_is_there(tmp_path: Path) -> None:
    shutil.copy(HERE / "docker" / "make-secrets.sh", tmp_path)
    first = made(tmp_path)
    assert made(tmp_path) == first
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
    shutil.copy(HERE / "docker" / "make-secrets.sh", tmp_path)
    folder = tmp_path / "secrets"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "tls_key").write_text("our own key")
    (folder / "tls_key").chmod(0o600)
    assert made(tmp_path)["tls_key"] == "our own key"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}
