"""docs/operations.md: each metric that a scrape tells has its row, with its labels, and each row is a metric."""

import re

import pytest
from django.test import override_settings

from orchestrator import measuring
from orchestrator.scraping import measurements
from tests.contract.pages import page, section, table
from tests.orchestrator.scrapes import TOKEN, Scrape, scraper
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import ask

pytestmark = pytest.mark.django_db(transaction=True)

OPERATIONS = page("docs/operations.md")
SUFFIX = {"counter": "_total", "histogram": "", "gauge": ""}
# What prometheus_client tells of the process by itself, where there is one process alone.
NOT_OURS = ("python_", "process_")
UNITS = ("_seconds", "_bytes", "_total", "_info", "_up")
COUNTS = re.compile(r"_(pending|active|connections|events|success|in_progress|rows)$")


@pytest.fixture
def told() -> Scrape:
    """A scrape with a sample of each metric."""
    measurements._taken_at = float("-inf")
    task_states.pending()
    ask()
    scraper().get("/status")
    with override_settings(METRICS_TOKEN=TOKEN):
        scrape = Scrape.of(scraper().get("/metrics"))
    measurements._taken_at = float("-inf")
    return scrape


def part(title: str) -> str:
    """What stands under a heading of the section."""
    return section(OPERATIONS, "Metrics").split(f"\n### {title}\n")[1].partition("\n### ")[0]


def documented() -> dict[str, set[str]]:
    """The labels of each metric that the page names."""
    rows = [*table(part("What is counted")), *table(part("What is measured"))]
    return {name.strip("`"): set(re.findall(r"`(\w+)`", labels)) for name, labels, _ in rows}


def scraped(told: Scrape) -> dict[str, set[str]]:
    """The labels of each metric that a scrape tells; without those of histograms' own."""
    return {
        name + SUFFIX[family.type]: {label for sample in family.samples for label in sample.labels} - {"le"}
        for name, family in told.families.items()
        if not name.startswith(NOT_OURS)
    }


def test_each_metric_is_documented_with_its_labels_and_each_that_is_documented_is_told(told: Scrape) -> None:
    assert scraped(told) == documented()
    assert len(documented()) > 20


def test_names_follow_the_conventions_of_prometheus(told: Scrape) -> None:
    """https://prometheus.io/docs/practices/naming/: a prefix, base units, a plural of what is counted, `_total`."""
    for name in scraped(told):
        assert re.fullmatch(r"orchestrator_[a-z]+(_[a-z]+)*", name), name
        assert name.endswith(UNITS) or COUNTS.search(name), name
    ours = [family for name, family in told.families.items() if not name.startswith(NOT_OURS)]
    assert [family.name for family in ours if not family.documentation.endswith(".")] == []


def test_the_page_tells_for_how_long_a_measurement_holds() -> None:
    assert measuring.KEPT_SECONDS == 5
    assert "for five seconds from then on" in part("What is measured")
