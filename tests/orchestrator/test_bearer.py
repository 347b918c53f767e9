"""Bearer tokens: which are taken and which are not."""

import logging
from typing import Any

import pytest

from tests.api import Api
from tests.bearer_tokens.hostile import HOSTILE, TAKEN

# No database: a token is judged without it, and whoever reached it would answer 500.


@pytest.mark.parametrize("name", TAKEN)
def test_takes_a_token(name: str) -> None:
    assert Api(TAKEN[name]()).get("/nowhere").status_code == 404


@pytest.mark.parametrize("name", HOSTILE)
def test_refuses_a_token_without_saying_why_but_in_the_log(name: str, caplog: pytest.LogCaptureFixture) -> None:
    make, why = HOSTILE[name]
    token = make()
    with caplog.at_level(logging.INFO, logger="orchestrator.auth"):
        answer = Api(token).get("/nowhere", X_Request_Id="hostile-token")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="orchestrator", error="invalid_token"'
    assert answer.json() == {
        "type": "/problems/unauthenticated",
        "title": "A valid bearer token is needed",
        "status": 401,
        "detail": "A valid bearer token is needed.",
        "instance": "/nowhere",
        "request_id": "hostile-token",
    }
    (record,) = [record for record in caplog.records if record.name == "orchestrator.auth"]
    told: dict[str, Any] = vars(record)
    assert why in told["why"]
    assert told["request"].request_id == "hostile-token"
    assert not [part for part in token.split(".") if len(part) > 8 and part in str(told)]
    assert "alice" not in str(told)
