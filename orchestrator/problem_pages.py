"""/problems/<slug>: what each refusal means, for people. Written from the classes, so that it cannot be out of date."""

import inspect

from django.http import Http404, HttpRequest, HttpResponse
from django.template import engines

from orchestrator.catalogue import catalogue
from orchestrator.problem_responses import reads_only
from orchestrator.problems import Problem

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
  body { font: 1rem/1.6 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem; color: #1b1f24; }
  h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 2rem 0 0; } code { background: #f1f3f5; padding: 0 .3em; }
  .number { color: #57606a; font-weight: normal; }
</style>
<h1>{{ title }}</h1>
{% for kind in kinds %}
<h2><a href="/problems/{{ kind.slug }}">{{ kind.slug }}</a> <span class="number">{{ kind.status }}</span></h2>
<p><strong>{{ kind.title }}.</strong></p>
{% for paragraph in kind.paragraphs %}<p>{{ paragraph }}</p>
{% endfor %}{% endfor %}
<p><a href="/problems">All refusals</a></p>
</html>
"""
_CSP = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@reads_only
def index(request: HttpRequest) -> HttpResponse:
    """GET /problems: the catalogue."""
    return _page("Refusals", list(catalogue()))


@reads_only
def page(request: HttpRequest, slug: str) -> HttpResponse:
    """GET /problems/{slug}: one kind."""
    for kind in catalogue():
        if kind.slug == slug:
            return _page(kind.title, [kind])
    raise Http404


def _page(title: str, kinds: list[type[Problem]]) -> HttpResponse:
    told = [
        {"slug": kind.slug, "status": kind.status, "title": kind.title, "paragraphs": _paragraphs(kind)}
        for kind in kinds
    ]
    page = engines["django"].from_string(_PAGE).render({"title": title, "kinds": told})
    return HttpResponse(page, headers={"Content-Security-Policy": _CSP})


def _paragraphs(kind: type[Problem]) -> list[str]:
    return inspect.cleandoc(kind.__doc__ or "").split("\n\n")
