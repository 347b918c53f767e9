"""GET /api-docs: Swagger UI, for anybody, from here alone."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from tests.api import Api

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}


class Page(HTMLParser):
    """The elements of a page, and what stands inside its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.cdata_elem:
            self.inline += data.strip()

    @property
    def addresses(self) -> list[str]:
        """What it makes a browser fetch."""
        found = [attrs.get("src") or attrs.get("href") for _, attrs in self.elements]
        return [address for address in found if address]


@pytest.fixture
def anyone() -> Api:
    """A caller without a token."""
    return Api(None)


def fetch(anyone: Api, query: str = "") -> Any:
    answer = anyone.get(f"/api-docs{query}")
    assert answer.status_code == 200
    return answer


def test_is_a_page_for_anybody(anyone: Api) -> None:
    answer = fetch(anyone)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert ("div", {"id": "swagger-ui"}) in Page(answer.content.decode()).elements


def test_its_policy_lets_nothing_in_from_elsewhere_and_nothing_inline(anyone: Api) -> None:
    for query in ("", "?script="):
        policy = fetch(anyone, query).headers["Content-Security-Policy"]
        assert dict(part.strip().split(" ", 1) for part in policy.split(";")) == POLICY


def test_no_other_answer_gets_its_policy(anyone: Api) -> None:
    for path in ("/status", "/api-docs/openapi.json", "/nowhere"):
        policy = anyone.get(path).headers["Content-Security-Policy"]
        assert policy == "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def test_no_script_and_no_style_stands_in_it(anyone: Api) -> None:
    page = Page(fetch(anyone).content.decode())
    assert page.inline == ""
    assert not [tag for tag, attrs in page.elements if tag == "style" or "style" in attrs]
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]


def test_all_that_it_needs_is_served_here_without_a_token(anyone: Api) -> None:
    page = Page(fetch(anyone).content.decode())
    assert len(page.addresses) == 5
    for address in page.addresses:
        assert re.match(r"/[^/]", address), address
        answer = anyone.get(address)
        content = b"".join(answer.streaming_content) if answer.streaming else answer.content
        assert (answer.status_code, len(content) > 100) == (200, True), address


def test_it_shows_the_document_and_to_nobody_else(anyone: Api) -> None:
    script = fetch(anyone, "?script=").content.decode()
    assert 'url: "/api\\u002Ddocs/openapi.json"' in script
    settings = json.loads(re.findall(r"swaggerSettings = (\{.*?\});", script, re.DOTALL)[0])
    # Swagger UI would send the document to a validator of its maker.
    assert settings["validatorUrl"] is None
    assert "http" not in script.replace('schema.type === "http"', "")


def test_a_query_cannot_put_anything_into_it(anyone: Api) -> None:
    mark = "'\"><script>alert(1)</script>"
    page = Page(fetch(anyone, f"?lang={mark}&version={mark}").content.decode())
    assert page.inline == ""
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 3
    assert mark not in fetch(anyone, f"?script=&lang={mark}&version={mark}").content.decode()


def test_sets_no_cookie(anyone: Api) -> None:
    for query in ("", "?script="):
        assert not fetch(anyone, query).cookies


def test_refuses_other_methods_in_the_usual_shape(anyone: Api) -> None:
    answer = anyone.post("/api-docs", {})
    assert (answer.status_code, answer.json()["type"]) == (405, "/problems/method-not-allowed")
