"""GET /problems and /problems/{slug}: what each refusal means, for people."""

import inspect
import re
from html import unescape

import pytest

from orchestrator.catalogue import catalogue
from orchestrator.problems import Problem
from tests.api import Api, token

# No database: the pages are there when it is away.

KINDS = {kind.slug: kind for kind in catalogue()}


def text_of(html: str) -> str:
    """What a reader sees, with single spaces."""
    return " ".join(unescape(re.sub("<[^>]+>", " ", html)).split())


@pytest.fixture
def anyone() -> Api:
    """A caller without a token."""
    return Api(None)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_problem_has_a_page_that_explains_it(anyone: Api, kind: type[Problem]) -> None:
    page = anyone.get(f"/problems/{kind.slug}")
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    html = page.content.decode()
    assert f"<title>{kind.title}</title>" in html
    seen = text_of(html)
    assert str(kind.status) in seen
    for line in inspect.cleandoc(kind.__doc__ or "").splitlines():
        assert line.strip() in seen or " ".join(line.split()) in seen


def test_the_catalogue_lists_every_problem(anyone: Api) -> None:
    page = anyone.get("/problems")
    assert page.status_code == 200
    html = page.content.decode()
    assert re.findall(r'href="/problems/([^"]+)"', html) == list(KINDS)
    for kind in KINDS.values():
        assert kind.title in text_of(html)


def test_an_unknown_slug_is_404(anyone: Api) -> None:
    for slug in ("no-such-problem", "NOT-FOUND", "not_found", "<script>", "%00"):
        answer = anyone.get(f"/problems/{slug}")
        assert answer.status_code == 404
        assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/problems", "/problems/not-found"])
def test_a_page_runs_nothing_and_loads_nothing(anyone: Api, path: str) -> None:
    policy = anyone.get(path).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert anyone.get(path).headers["X-Content-Type-Options"] == "nosniff"
    assert "<script" not in anyone.get(path).content.decode()


@pytest.mark.parametrize("bearer", [None, "not a token"])
def test_the_type_of_an_answer_is_a_page_that_anybody_can_read(bearer: str | None) -> None:
    answers = [
        Api(bearer).get("/sessions/1"),
        Api(token(roles="cook")).get("/sessions/1"),
        Api(token()).get("/sessions/1"),
        Api(token()).get("/nowhere"),
        Api(token()).send_raw("POST", "/sessions", b"{"),
        Api(token()).send_raw("POST", "/sessions", b"{}", "text/plain"),
        Api(bearer).send_raw("POST", "/sessions", b" " * 1_048_577),
        Api(bearer).post("/status"),
    ]
    assert {answer.status_code for answer in answers} == {400, 401, 403, 404, 405, 413, 415}
    for answer in answers:
        page = Api(bearer).get(answer.json()["type"])
        assert page.status_code == 200
        assert answer.json()["title"] in text_of(page.content.decode())


def test_head_answers_like_get_without_a_body(anyone: Api) -> None:
    answer = anyone.send("HEAD", "/problems/not-found")
    assert (answer.status_code, answer.content) == (200, b"")
