"""Workers count together: from zero, in as many files as there are workers, and nothing is lost when one is renewed."""

import os
import stat
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from orchestrator import metric_files
from tests.faults.harness import serving
from tests.orchestrator.scrapes import TOKEN, Scrape

PATIENCE_SECONDS = 20
WORKERS = 2


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is named, and the variable as it was when the test is over."""
    monkeypatch.setenv(metric_files.FOLDER, str(tmp_path / "metrics"))
    return tmp_path / "metrics"


def test_a_folder_that_is_named_is_made_for_its_owner_alone_and_cleared_of_the_last_run(folder: Path) -> None:
    assert metric_files.prepare() is None
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("counter_1-0.db", "histogram_77-12.db", "gauge_livesum_1-0.db"):
        (folder / name).write_bytes(b"of the last run")
    for name in ("counter_4711.db", "somebody's"):
        (folder / name).write_bytes(b"of a sweeper beside, or of a stranger")
    assert metric_files.prepare() is None
    assert {path.name for path in folder.iterdir()} == {"counter_4711.db", "somebody's"}


def test_where_none_is_named_one_of_our_own_is_made_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = _prepared_anew(monkeypatch)
    assert os.environ[metric_files.FOLDER] == str(made)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    left = made.with_name(f"{made.name}-of-one-that-was-killed")
    left.mkdir(mode=0o700)
    (left / "counter_1-0.db").write_bytes(b"what it counted")
    again = _prepared_anew(monkeypatch)
    assert not left.exists()
    assert made.exists()
    for folder in (made, again):
        metric_files.remove(folder)
    assert not made.exists()


def _prepared_anew(monkeypatch: pytest.MonkeyPatch) -> Path:
    """As another master does, while the first one runs."""
    monkeypatch.setenv(metric_files.FOLDER, "")
    made = metric_files.prepare()
    assert made
    return made


def test_a_worker_takes_the_first_slot_that_is_free() -> None:
    assert [metric_files.free_slot(taken) for taken in ((), (0,), (1,), (0, 1, 3))] == [0, 1, 0, 2]


# A real gunicorn.


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_workers_count_together_in_memory_which_goes_with_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(metric_files.FOLDER, raising=False)
    with serving(workers=WORKERS, METRICS_TOKEN=TOKEN) as service:
        for _ in range(20):
            urlopen(f"{service.base}/status", timeout=PATIENCE_SECONDS).close()
        request = Request(f"{service.base}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        with urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            told = Scrape(answer.read().decode())
        assert told.value("orchestrator_http_requests_total", route="/status") == 20
        assert told.value("orchestrator_http_requests_in_progress") == 1
        (folder,) = {opened for pid in service.ready() for opened in _opened(pid)}
        assert folder.name.startswith("orchestrator-counts-")
        assert len(list(folder.glob("counter_*.db"))) == WORKERS + 1  # and the master, at zero
    assert not folder.exists()


def _opened(worker: int) -> set[Path]:
    """The folders of the files that a worker counts in."""
    maps = Path(f"/proc/{worker}/maps").read_text().splitlines()
    return {Path(line.split()[-1]).parent for line in maps if line.endswith(".db")}
