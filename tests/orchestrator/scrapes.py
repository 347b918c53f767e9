"""What a scrape tells."""

from collections.abc import Mapping
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.api import Api

TOKEN = "a-token-of-the-scrapers-own-0123456789"


def scraper() -> Api:
    """Prometheus, where METRICS_TOKEN is TOKEN."""
    return Api(TOKEN)


def families(text: str) -> dict[str, Metric]:
    """What the text format tells, by the name of each family."""
    return {family.name: family for family in text_string_to_metric_families(text)}


class Scrape:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.families = families(text)
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    @classmethod
    def of(cls, answer: Any) -> "Scrape":
        assert answer.status_code == 200, answer.content
        return cls(answer.content.decode())

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name with these labels, whatever their others."""
        return sum(sample.value for sample in self.samples if sample.name == name and _has(sample.labels, labels))

    def labels(self, name: str, label: str) -> list[str]:
        """The values of a label, in order."""
        return [sample.labels[label] for sample in self.samples if sample.name == name]


def _has(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in wanted.items())
