"""What `/metrics` says of maintenance jobs."""

from math import inf

import pytest

from orchestrator.maintenance import measuring, records
from orchestrator.maintenance.jobs import all_jobs

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_scrape_tells_the_age_of_the_last_success_its_limit_and_the_rows_that_cannot_be_moved() -> None:
    first, second, *_ = all_jobs()
    records.succeed(first)
    told = {
        (sample.name, sample.labels["maintenance_job"]): sample.value
        for family in measuring.jobs()
        for sample in family.samples
    }
    assert 0 <= told["orchestrator_job_last_success_age_seconds", first.name] < 60
    assert told["orchestrator_job_last_success_age_seconds", second.name] == inf
    assert told["orchestrator_job_overdue_seconds", first.name] == first.overdue_seconds
    assert told["orchestrator_job_poison_rows", first.name] == 0
