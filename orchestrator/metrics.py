"""What is counted, for Prometheus. Knows nothing of ours: whoever does the thing counts it.

docs/operations.md says what each means. What is a state, and not something that happened, is measured at the scrape.
"""

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

# A second series for each, with the time at which this worker began: nobody asked for it.
disable_created_metrics()  # type: ignore[no-untyped-call]

HTTP_REQUESTS = Counter(
    "orchestrator_http_requests",
    "Requests answered, by method, route (its template; none where no route fits) and status.",
    ["method", "route", "status"],
)
HTTP_REQUEST_SECONDS = Histogram(
    "orchestrator_http_request_duration_seconds",
    "How long requests took, the time that callers asked to wait for something included.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
HTTP_REQUESTS_IN_PROGRESS = Gauge(
    "orchestrator_http_requests_in_progress",
    "Requests being answered now, those that wait included; each has a thread.",
    multiprocess_mode="livesum",
)
REFUSALS = Counter(
    "orchestrator_refusals",
    "Requests refused, by the problem's slug. Refusals that are replayed under a key are not counted again.",
    ["problem"],
)

EVENTS = Counter(
    "orchestrator_events",
    "Events committed to the trail, by type: every transition, and every refused attempt that is remembered.",
    ["event_type"],
)
TASK_ATTEMPTS_ENDED = Counter(
    "orchestrator_task_attempts_ended",
    "Attempts at tasks that ended, by how: lease_lost is one whose lease ran out.",
    ["outcome"],
)
APPROVAL_DECISION_SECONDS = Histogram(
    "orchestrator_approval_decision_seconds",
    "How long approvals were open until they were settled, by how.",
    ["outcome"],
    buckets=(60, 300, 900, 3_600, 14_400, 28_800, 86_400, 259_200, 604_800, 2_592_000),
)

KEYED_REQUESTS = Counter(
    "orchestrator_keyed_requests",
    "Requests with an Idempotency-Key, by what their key was found to be: first, replay, mismatch or in_flight.",
    ["outcome"],
)
REPLAY_CACHE_LOOKUPS = Counter(
    "orchestrator_replay_cache_lookups",
    "Keys that Redis was asked for, by what it knew: hit, or miss where it did not know or could not be asked.",
    ["result"],
)
STORED_ANSWERS_REFUSED = Counter(
    "orchestrator_stored_answers_refused",
    "Stored answers that were not replayed since their authentication code is missing or wrong, by store.",
    ["store"],
)
REDIS_BREAKER_OPENINGS = Counter(
    "orchestrator_redis_breaker_openings",
    "How often Redis failed a call, so that for a second it was not asked.",
)

# Each is there from the start, at zero: what has never happened is told apart from what is not counted.
for _outcome in ("first", "replay", "mismatch", "in_flight"):
    KEYED_REQUESTS.labels(_outcome)
for _result in ("hit", "miss"):
    REPLAY_CACHE_LOOKUPS.labels(_result)
for _store in ("database", "redis"):
    STORED_ANSWERS_REFUSED.labels(_store)
