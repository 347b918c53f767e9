"""What is counted, for Prometheus. Knows nothing of ours: whoever does the thing counts it."""

from prometheus_client import Counter, Gauge

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
REDIS_BREAKER_OPENINGS = Counter(
    "orchestrator_redis_breaker_openings",
    "How often Redis failed a call, so that for a second it was not asked.",
)

SEAL_LAG_SECONDS = Gauge(
    "orchestrator_audit_seal_lag_seconds",
    "How long the oldest event that waits for a seal has waited.",
)

# Each is there from the start, at zero: what has never happened is told apart from what is not counted.
for _outcome in ("first", "replay", "mismatch", "in_flight"):
    KEYED_REQUESTS.labels(_outcome)
for _result in ("hit", "miss"):
    REPLAY_CACHE_LOOKUPS.labels(_result)
