"""docs/guides and docs/upgrading.md: a reader who pastes what they show gets what they show."""

import pytest

from orchestrator.roles import with_settings
from tests.api import token
from tests.contract.pages import page
from tests.contract.shown import assert_answers_as_shown, snippets
from tests.database import address
from tests.gunicorn_server import serving
from tests.sessions_app.approval_calls import ACTION, agree, ask, asker, consume, manager, where
from tests.sessions_app.session_calls import somebody
from tests.sessions_app.task_calls import routed

GUIDES = ["docs/guides/auditing.md", "docs/guides/first-approval.md", "docs/upgrading.md"]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_first_approval_goes_as_shown() -> None:
    bearer = token("alice", roles="agent,operator,auditor", agent_roles="finance")
    with serving() as base:
        assert_answers_as_shown(page("docs/guides/first-approval.md"), base, TOKEN=bearer)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_an_audit_goes_as_shown() -> None:
    finn = somebody("finn")
    approval = ask(routed(by=somebody("nora")), by=finn, required_approvals=2, action=ACTION)
    assert manager("finn").post(where(approval, "approve")).status_code == 403
    approval = agree(approval, "mona", "max")
    assert asker("finn").post(where(approval, "consume"), {"action": {**ACTION, "amount": 84_000}}).status_code == 409
    consume(approval, by=finn)
    with serving() as base:
        assert_answers_as_shown(page("docs/guides/auditing.md"), base, TOKEN=token("audrey", roles="auditor"))


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_an_upgrade_goes_as_shown(jobs_done: None) -> None:
    """With the environment of a production."""
    production = {
        "ORCHESTRATOR_ENV": "production",
        "ALLOWED_HOSTS": "127.0.0.1",
        "OIDC_AUDIENCE": "orchestrator",
        "OIDC_ISSUER_URL": "https://id.example.org/realms/work",
        "SECRET_KEY": "long enough, and of many different letters: 0123456789",
        "DATABASE_OWNER_URL": with_settings(address()),
    }
    with serving() as base:
        assert_answers_as_shown(page("docs/upgrading.md"), base, **production)


@pytest.mark.parametrize("guide", GUIDES)
def test_each_snippet_is_followed_by_what_it_answers(guide: str) -> None:
    assert {kind for _, kind, _ in snippets(page(guide))} == {"text"}
