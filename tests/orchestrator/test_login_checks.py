"""Settings of the admin's login that do not go together, and the switch in production."""

from typing import Any

import pytest
from django.core.checks import Tags, run_checks

from orchestrator.checks import findings


def found() -> set[str | None]:
    return {finding.id for finding in run_checks(tags=[Tags.security])}


@pytest.fixture
def whole(settings: Any) -> Any:
    """A login that is configured as it should be."""
    settings.OIDC_ISSUERS = (
        {"issuer": "https://id.example", "audience": "a", "jwks_url": "", "tenants": ("default",)},
    )
    settings.OIDC_RP_CLIENT_ID, settings.OIDC_RP_CLIENT_SECRET = "web", "secret"
    assert not found() & {"orchestrator.E006", "orchestrator.E007"}
    return settings


def test_a_client_of_no_issuer_is_an_error(whole: Any) -> None:
    whole.OIDC_ISSUERS = ()
    assert "orchestrator.E006" in found()


@pytest.mark.parametrize("named", [("cook",), ("operator", "Auditor"), ("",)])
def test_a_role_that_there_is_not_is_an_error(whole: Any, named: tuple[str, ...]) -> None:
    whole.OIDC_STAFF_ROLES = named
    assert "orchestrator.E007" in found()


def test_passwords_switched_on_in_production_are_a_warning_and_no_error(whole: Any) -> None:
    whole.ADMIN_PASSWORD_LOGIN = False
    assert "orchestrator.W001" not in {finding.id for finding in findings()}
    whole.ADMIN_PASSWORD_LOGIN = True
    [warning] = [finding for finding in findings() if finding.id == "orchestrator.W001"]
    assert not warning.is_serious()
    assert warning.hint
