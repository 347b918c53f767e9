"""docker/prometheus/alerts.yml: PromQL can read each rule, there is what it names, and a page says what to do."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from typing import Any

import promql_parser as promql
import pytest
import yaml
from django.urls import URLPattern, get_resolver

from audit_app.sealer_state import PARTS
from orchestrator.catalogue import catalogue
from orchestrator.routes import template
from sessions_app.models.attempt import AttemptOutcome
from tests.contract.pages import page, section
from tests.contract.test_docs_metrics import documented
from tests.gunicorn_server import HERE

RULES = HERE / "docker" / "prometheus" / "alerts.yml"
RUNBOOK = re.compile(r'<a id="([a-z]+)"></a>`(\w+)`')
# What Prometheus itself says of a scrape.
PROMETHEUS_OWN = {"up": set[str]()}
OF_HISTOGRAMS = re.compile(r"_(bucket|sum|count)$")


@cache
def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


every_rule = pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])


def selectors(rule: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """Each metric that a rule names, with the matchers on it."""
    found: list[Any] = []
    promql.walk(promql.parse(rule["expr"]), found.append)
    for node in found:
        if isinstance(node, promql.VectorSelector):
            yield str(node.name), list(node.matchers.matchers)


@every_rule
def test_each_metric_and_each_label_of_a_rule_is_there(rule: dict[str, Any]) -> None:
    known = {**documented(), **PROMETHEUS_OWN}
    named = list(selectors(rule))
    assert named
    for name, matchers in named:
        metric = name if name in known else OF_HISTOGRAMS.sub("", name)
        assert metric in known, name
        assert {matcher.name for matcher in matchers} <= known[metric] | {"job"}


@every_rule
def test_each_word_that_a_rule_looks_for_is_said(rule: dict[str, Any]) -> None:
    routes, slugs = set(templates(get_resolver().url_patterns)), {kind.slug for kind in catalogue()}
    said = {
        "route": routes,
        "problem": slugs,
        "outcome": {*AttemptOutcome.values, "mismatch"},
        "status": {"500", "503"},
        "part": set(PARTS),
    }
    for _, matchers in selectors(rule):
        for matcher in matchers:
            words = {word for word in matcher.value.split("|") if not word.endswith(".*")}
            assert words <= said.get(matcher.name, {"orchestrator"})


def templates(patterns: Any, before: str = "") -> Iterator[str]:
    """The routes of the service, as the metrics tell them."""
    for pattern in patterns:
        route = f"{before}{pattern.pattern}"
        if isinstance(pattern, URLPattern):
            yield template(route)
        else:
            yield from templates(pattern.url_patterns, route)


@every_rule
def test_each_rule_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"].endswith(".")
    where, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert (where, anchor) == ("docs/operations.md", rule["alert"].lower())


def test_each_alert_has_its_row_and_each_row_its_alert() -> None:
    told = RUNBOOK.findall(section(page("docs/operations.md"), "Alerts"))
    assert [name for _, name in told] == [rule["alert"] for rule in rules()]
    assert all(anchor == name.lower() for anchor, name in told)


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is Prometheus's own, and not everywhere")
def test_prometheus_itself_finds_that_they_fire_when_they_should() -> None:
    for arguments in (["check", "rules", str(RULES)], ["test", "rules", str(RULES.with_name("alerts_test.yml"))]):
        done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
