"""POST /sessions"""

import pytest

from tests.api import Api

pytestmark = pytest.mark.django_db(transaction=True)


def test_opens_a_pending_session(agent: Api) -> None:
    answer = agent.post("/sessions", {"agent_role": "finance", "metadata": {"quarter": "Q4"}})
    assert answer.status_code == 201
    assert answer.json()["status"] == "pending"
