"""What the variables mean, and which values are refused."""

from pathlib import Path

import pytest

from agent_mesh.environment import Environment, Unusable
from agent_mesh.tokens import ClientCredentials, StaticToken, TokenFile


def test_the_names_that_agents_have_used_so_far_keep_their_meaning() -> None:
    said = Environment(
        {
            "CONTROLLER_URL": "http://controller:8088",
            "MESH_JWT_TOKEN": "abc.def.ghi",
            "MESH_RETRY_COUNT": "5",
            "MESH_TIMEOUT_SECS": "7",
        }
    )
    tokens = said.tokens()
    assert tokens is not None
    assert tokens.token() == "abc.def.ghi"
    connection = said.client(tokens).tasks._connection
    assert (connection.where, connection._retry.attempts, connection._timeout) == ("http://controller:8088", 5, 7)


def test_without_them_it_is_this_machine_three_attempts_and_thirty_seconds() -> None:
    connection = Environment({}).client(None).tasks._connection
    assert (connection.where, connection._retry.attempts, connection._timeout) == ("http://localhost:8088", 3, 30)
    assert Environment({"MESH_JWT_TOKEN": " "}).tokens() is None


def test_a_token_may_come_from_a_file_or_from_the_identity_provider(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    granted = {"MESH_TOKEN_URL": "https://id.example/token", "MESH_CLIENT_ID": "mesh"}
    assert isinstance(Environment({"MESH_JWT_TOKEN_FILE": str(secret)}).tokens(), TokenFile)
    assert isinstance(Environment({**granted, "MESH_CLIENT_SECRET": "a"}).tokens(), ClientCredentials)
    assert isinstance(Environment({**granted, "MESH_CLIENT_SECRET_FILE": str(secret)}).tokens(), ClientCredentials)
    assert isinstance(Environment({**granted, "MESH_JWT_TOKEN": "a"}).tokens(), StaticToken)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MESH_RETRY_COUNT", "0"),
        ("MESH_RETRY_COUNT", "three"),
        ("MESH_RETRY_COUNT", "-1"),
        ("MESH_RETRY_COUNT", "1000"),
        ("MESH_TIMEOUT_SECS", "0"),
        ("MESH_TIMEOUT_SECS", "nan"),
        ("MESH_TIMEOUT_SECS", "soon"),
        ("CONTROLLER_URL", "controller:8088"),
    ],
)
def test_what_cannot_be_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(Unusable, match=name):
        Environment({name: value}).client(None)


def test_half_of_a_secret_is_refused_and_not_shown(tmp_path: Path) -> None:
    granted = {"MESH_TOKEN_URL": "https://id.example/token", "MESH_CLIENT_ID": "mesh"}
    with pytest.raises(Unusable, match="MESH_CLIENT_SECRET must be set"):
        Environment(granted).tokens()
    with pytest.raises(Unusable, match="cannot be read"):
        Environment({**granted, "MESH_CLIENT_SECRET_FILE": str(tmp_path / "none")}).tokens()
