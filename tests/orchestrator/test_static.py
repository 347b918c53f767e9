"""Static files as production serves them: known from the start, straight from the packages that bring them."""

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.test import Client, override_settings

from orchestrator import settings as production


@pytest.fixture
def as_in_production() -> Iterator[Client]:
    """A client of its own, whose middleware is made with the setting of production."""
    with override_settings():
        del settings.WHITENOISE_AUTOREFRESH
        assert not hasattr(production, "WHITENOISE_AUTOREFRESH")
        yield Client()


def test_a_file_of_ours_and_one_of_a_package_are_served_without_a_token(as_in_production: Client) -> None:
    for path in ("orchestrator/icon.svg", "admin/css/base.css"):
        answer = as_in_production.get(f"/static/{path}")
        found = finders.find(path)
        assert found is not None
        with open(found, "rb") as file:  # noqa: PTH123  finders give text
            assert (answer.status_code, b"".join(answer.streaming_content)) == (200, file.read())  # type: ignore[attr-defined]
        assert not answer.has_header("Access-Control-Allow-Origin")


@pytest.mark.parametrize("path", ["/static/nothing.css", "/static/../orchestrator/settings.py", "/static/"])
def test_what_is_none_is_a_404(as_in_production: Client, path: str) -> None:
    assert as_in_production.get(path).status_code == 404
