"""People log in to the admin at Keycloak, in a browser, and out again."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.database import service_connection
from tests.keycloak.conftest import Serving
from tests.keycloak.server import Keycloak

pytestmark = [pytest.mark.keycloak, pytest.mark.django_db(transaction=True)]

BUTTON = "Log in at the identity provider"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
PATIENCE_MILLISECONDS = 60_000


@contextmanager
def browser() -> Iterator[Page]:
    """Somebody's, with no cookies yet. It ends with the block, and its event loop with it: Django minds one."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        try:
            page = chromium.new_page()
            page.set_default_timeout(PATIENCE_MILLISECONDS)
            expect.set_options(timeout=PATIENCE_MILLISECONDS)
            yield page
        finally:
            chromium.close()


def log_in(page: Page, service: str, name: str, path: str = "/admin/") -> None:
    """From the admin's login to whatever it leads to."""
    page.goto(f"{service}{path}")
    page.get_by_role("link", name=BUTTON).click()
    page.locator("#username").fill(name)
    page.locator("#password").fill(f"{name}-password")
    page.locator("#kc-login").click()


def person() -> Any:
    with service_connection() as connection:
        columns = "issuer, subject, tenant, roles, agent_roles, is_staff, is_superuser, first_name"
        [row] = connection.execute(f"SELECT {columns} FROM people_person").fetchall()
        return row


def test_a_person_with_the_role_is_let_in_and_logged_out_at_keycloak_too(keycloak: Keycloak, service: str) -> None:
    with browser() as page:
        log_in(page, service, "dev-operator", "/admin/sessions_app/session/")
        page.wait_for_url(f"{service}/admin/sessions_app/session/")
        expect(page.get_by_text("Olga Dev")).to_be_visible()
        page.get_by_text("Olga Dev").click()
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url(f"{service}/admin/login/")
        page.get_by_role("link", name=BUTTON).click()
        # Keycloak asks again: the session there is over as well.
        expect(page.locator("#password")).to_be_visible()
    issuer, subject, *rights = person()
    assert issuer == keycloak.address("dev")
    assert len(subject) == 36
    assert rights == ["default", ["auditor", "operator"], [], True, False, "Olga"]


def test_a_person_without_the_role_is_told_so_and_may_try_as_somebody_else(service: str) -> None:
    with browser() as page:
        log_in(page, service, "dev-agent")
        expect(page.get_by_text("operator, auditor, approver")).to_be_visible()
        assert page.url.startswith(f"{service}/oidc/callback/")
        page.goto(f"{service}/admin/")
        page.get_by_role("link", name=BUTTON).click()
        expect(page.locator("#password")).to_be_visible()
    assert person()[3:6] == (["agent"], ["finance"], False)


def test_a_person_who_gives_up_at_keycloak_is_not_let_in(service: str) -> None:
    with browser() as page:
        page.goto(f"{service}/admin/")
        page.get_by_role("link", name=BUTTON).click()
        page.locator("#username").fill("dev-operator")
        page.locator("#password").fill("wrong")
        page.locator("#kc-login").click()
        expect(page.get_by_text("Invalid username or password.")).to_be_visible()
        page.goto(f"{service}/admin/")
        expect(page.get_by_role("link", name=BUTTON)).to_be_visible()


@pytest.mark.parametrize(("name", "roles"), [("old-operator", ["operator"]), ("old-auditor", ["auditor"])])
def test_people_of_the_realm_of_existing_deployments_are_let_in(
    serving_realm: Serving, name: str, roles: list[str]
) -> None:
    """Its ID tokens name no roles, its access tokens do."""
    with serving_realm("existing") as service, browser() as page:
        log_in(page, service, name)
        page.wait_for_url(f"{service}/admin/")
        expect(page.get_by_text(name).first).to_be_visible()
    assert person()[2:6] == ("default", roles, [], True)
