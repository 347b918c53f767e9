"""What `/metrics` and `/health` say of the maintenance jobs."""

from collections.abc import Iterator
from math import inf

from prometheus_client.core import Metric

from orchestrator import boundary
from orchestrator.maintenance import records
from orchestrator.maintenance.jobs import all_jobs
from orchestrator.measuring import gauge

# Prometheus calls the thing that it scrapes `job`.
_LABEL = "maintenance_job"


def jobs() -> Iterator[Metric]:
    """Measure each job. Raises what the database raises."""
    age = gauge("job_last_success_age_seconds", "How long ago a maintenance job last succeeded; +Inf: never.", [_LABEL])
    limit = gauge("job_overdue_seconds", "The age of its last success above which a job is overdue.", [_LABEL])
    poison = gauge("job_poison_rows", "Rows that a maintenance job cannot move, and tries again ever later.", [_LABEL])
    for state in records.states(all_jobs()):
        age.add_metric([state.job.name], inf if state.age_seconds is None else max(0.0, state.age_seconds))
        limit.add_metric([state.job.name], state.job.overdue_seconds)
        poison.add_metric([state.job.name], state.poison_rows)
    yield from (age, limit, poison)


def health() -> dict[str, dict[str, object]]:
    """Return what `/health` says of each job. Raises ServiceUnavailable where the database is away."""
    return {
        state.job.name: {
            "last_success_age_seconds": None if state.age_seconds is None else round(max(0.0, state.age_seconds), 1),
            "overdue": state.is_overdue,
            "poison_rows": state.poison_rows,
        }
        for state in boundary.read(lambda: records.states(all_jobs()))
    }


def overdue() -> list[str]:
    """Return the names of the jobs that have not succeeded for too long. Raises ServiceUnavailable."""
    return [state.job.name for state in boundary.read(lambda: records.states(all_jobs())) if state.is_overdue]
