"""Where the workers of one gunicorn count together: a file each and kind of metric, in a folder of their own.

A worker's files are named by its slot, not by its process id. Whoever takes the slot after it goes on counting in them,
so that there are never more files than there were workers at once, however often workers are renewed.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from prometheus_client import multiprocess, values

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder, as prometheus_client has it. Child processes inherit it, and count along."""

_counting: list[str] = []
"""As whom this process counts, where it does."""
_MEMORY = Path("/dev/shm")  # noqa: S108  a file system in memory; what is made there has an unguessable name
_PREFIX = "orchestrator-counts-"
_held: list[int] = []


def prepare() -> Path | None:
    """Before the first worker starts: clear the folder that is named, or make one in memory, which is returned."""
    named = os.environ.get(FOLDER, "").strip()
    if named:
        _clear(Path(named))
        return None
    within = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for left in within.glob(f"{_PREFIX}*"):
        _remove_if_left(left)
    # Locked before it has a name by which another master, starting now, could take it for left.
    unnamed = Path(tempfile.mkdtemp(prefix=".orchestrator-", dir=within))
    _held.append(_locked(unnamed))
    made = unnamed.rename(within / f"{_PREFIX}{unnamed.name.removeprefix('.orchestrator-')}")
    os.environ[FOLDER] = str(made)
    return made


def _remove_if_left(folder: Path) -> None:
    """Memory is not given back by itself: what a master left that was killed goes when the next one starts."""
    with suppress(OSError):
        # Of another user's it cannot be opened, and of a running master's it is locked.
        os.close(_locked(folder))
        remove(folder)


def _locked(folder: Path) -> int:
    """A lock that lasts as long as the process and its workers. Raises OSError where somebody has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _clear(folder: Path) -> None:
    """Workers begin at zero, as Prometheus expects of a service that was started anew.

    A sweeper beside may be running: its files, which are named by a process id, stay.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.glob(f"*_{_name('*', '*')}.db"):
        left.unlink(missing_ok=True)


def remove(made: Path) -> None:
    """Remove a folder that `prepare()` made."""
    shutil.rmtree(made, ignore_errors=True)


def free_slot(taken: Collection[int]) -> int:
    """The first slot that no running worker has."""
    return next(slot for slot in range(len(taken) + 1) if slot not in taken)


def count_as(master: int, slot: int | str) -> None:
    """In a master, before it loads the application, and in a new worker: its metrics are kept under this name.

    What was made under the master's name, at zero, a worker goes on with under its own.
    """
    name = _name(master, slot)
    if _counting:
        _counting[0] = name
        return
    _counting.append(name)
    values.ValueClass = values.MultiProcessValue(lambda: _counting[0])  # type: ignore[no-untyped-call]


def forget(master: int, slot: int) -> None:
    """In the master, once a worker is gone: what it did at that moment, it does no more. Its counters stay."""
    multiprocess.mark_process_dead(_name(master, slot))  # type: ignore[no-untyped-call]


def _name(master: int | str, slot: int | str) -> str:
    """By master too: while one is exchanged for another there are two, with slots of their own."""
    return f"{master}-{slot}"
