"""Verifying the trail: how many events a second, and in how much memory."""

import json
import os
import subprocess
import sys
import time
from statistics import median

from django.conf import settings

from audit_app import sealing
from benchmarks.bench import HERE, TRAIL
from benchmarks.measured.databases import owner, use
from benchmarks.measured.rounds import Figure
from tests.audit_app import many_events

SESSIONS, AT_A_TIME, ROUNDS = 125_000, 25_000, 5
EVENTS = SESSIONS * many_events.EACH
PROMISED = 100_000
MIB = 2**20


def measure() -> list[Figure]:
    """`manage.py audit_verify` as a whole, from its start to its end, on a trail that is sealed."""
    with owner(TRAIL) as filler:
        for _ in range(SESSIONS // AT_A_TIME):
            many_events.write(filler, AT_A_TIME)
    use(TRAIL)
    sealing.seal_all()
    runs = [_verify() for _ in range(ROUNDS)]
    rate = EVENTS / median(seconds for seconds, _ in runs)
    return [
        Figure("verifying the trail, in events a second", f"{rate:,.0f}", f"≥ {PROMISED:,}", is_kept=rate >= PROMISED),
        Figure(f"… of {EVENTS:,}, in memory at most", f"{max(peak for _, peak in runs) / MIB:.0f} MiB"),
    ]


def _verify() -> tuple[float, int]:
    """Seconds, and the largest memory of the process in bytes."""
    began = time.perf_counter()
    command = [sys.executable, "manage.py", "audit_verify", "--json", "--anchor", str(settings.AUDIT_ANCHOR_FILE)]
    env = {**os.environ, "DATABASE_URL": os.environ["DATABASE_TRAIL_URL"]}
    process = subprocess.Popen(command, cwd=HERE, env=env, stdout=subprocess.PIPE)
    assert process.stdout is not None
    report = json.loads(process.stdout.read())
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    assert (report["result"], report["events"]) == ("clean", EVENTS), report
    return seconds, used.ru_maxrss * 1024
