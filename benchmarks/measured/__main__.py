"""What is asked for, or everything, as one table. `python -m benchmarks.measured [PART …]` with databases to fill."""

import sys
import time

from benchmarks.measured import expiry, keyed, lists, single, tasks, trail, verify, workers
from benchmarks.measured.databases import fill
from benchmarks.measured.rounds import ROUNDS, Figure

PARTS = {
    "lists": lists.measure,
    "single": single.measure,
    "keyed": keyed.measure,
    "expiry": expiry.measure,
    "tasks": tasks.measure,
    "trail": trail.measure,
    "verify": verify.measure,
    "workers": workers.measure,
}
SEEDS_ITSELF = {"tasks", "trail", "verify", "workers"}


def main(asked: list[str]) -> int:
    """Seed, measure, print; 1 where a promise is not kept, 2 where there is no such part."""
    if unknown := [name for name in asked if name not in PARTS]:
        _say(f"There is no {', '.join(unknown)}; there are {', '.join(PARTS)}.")
        return 2
    began = time.monotonic()
    chosen = asked or list(PARTS)
    if set(chosen) - SEEDS_ITSELF:
        fill()
        _say(f"seeded in {time.monotonic() - began:.0f} s")
    figures: list[Figure] = []
    for measure in (PARTS[name] for name in chosen):
        figures += measure()
        _say(f"{measure.__module__.rpartition('.')[2]} measured after {time.monotonic() - began:.0f} s")
    print(table(figures))
    print(f"\nMedians of {ROUNDS} rounds, variants in turn. CPU is this process's, without the database's.")
    print("Only ratios within one run mean anything.")
    return 0 if all(figure.is_kept for figure in figures) else 1


def table(figures: list[Figure]) -> str:
    """The figures in columns."""
    rows = [("", "measured", "promised", "")]
    rows += [(figure.what, figure.value, figure.promise, figure.verdict) for figure in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = (
        f"{what:<{widths[0]}}  {value:>{widths[1]}}  {promise:>{widths[2]}}  {verdict}".rstrip()
        for what, value, promise, verdict in rows
    )
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


sys.exit(main(sys.argv[1:]))
