"""A database with a lower term than one that was seen is neither read nor written."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from django.db import connection
from django.db.backends.signals import connection_created

from orchestrator import boundary
from orchestrator.database_term import Seen, StaleDatabaseError, Term, TermFile, TermGuard, ask
from orchestrator.problems import DatabaseStale
from tests.api import Api
from tests.orchestrator.idempotency.keyed import assert_refused
from tests.work import in_a_thread

pytestmark = pytest.mark.django_db(transaction=True)

ONE, TWO = "7714092577542906102", "7714092577542906103"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "database_term.json"


@pytest.fixture
def guarded(file: Path) -> Iterator[TermGuard]:
    """A guard over this process's connections, for as long as the test runs."""
    connection.close()
    guard = TermGuard(file)
    connection_created.connect(guard.judge)
    yield guard
    connection_created.disconnect(guard.judge)
    connection.close()


def here() -> Term:
    """The term of the database that the tests run on."""
    with closing(connection.copy()) as beside:
        beside.connect()
        term, in_recovery = ask(beside)
    assert term is not None
    assert not in_recovery
    return term


def promoted(file: Path) -> None:
    """Record that another server of the same cluster was promoted since."""
    term = here()
    file.write_text(Seen(term.era, {term.system: term.timeline + 1}).text())


@pytest.mark.parametrize(
    ("term", "is_lower"),
    [
        (Term(2, 3, ONE), False),
        (Term(2, 4, ONE), False),
        (Term(2, 2, ONE), True),
        (Term(1, 9, ONE), True),
        (Term(3, 1, ONE), False),
        (Term(2, 1, TWO), False),
        (Term(1, 1, TWO), True),
    ],
    ids=["the same", "promoted", "the former primary", "an era before", "a new era", "another cluster", "and older"],
)
def test_a_term_is_lower_by_its_era_and_then_by_the_timeline_of_its_cluster(term: Term, is_lower: bool) -> None:
    seen = Seen(2, {ONE: 3})
    assert seen.is_above(term) is is_lower
    assert seen.with_term(term).is_above(term) is is_lower


def test_a_new_era_forgets_the_timelines_of_the_era_before() -> None:
    assert Seen(1, {ONE: 5}).with_term(Term(2, 1, ONE)) == Seen(2, {ONE: 1})
    assert Seen(1, {ONE: 5}).merged(Seen(2, {TWO: 1})) == Seen(2, {TWO: 1})
    assert Seen(2, {TWO: 1}).merged(Seen(1, {ONE: 5})) == Seen(2, {TWO: 1})
    assert Seen(2, {ONE: 1}).merged(Seen(2, {ONE: 3, TWO: 1})) == Seen(2, {ONE: 3, TWO: 1})


def test_what_one_process_saw_is_known_to_the_others_and_after_a_restart(file: Path) -> None:
    first, second = TermFile(file), TermFile(file)
    assert second.seen() == Seen()
    first.add(Term(1, 2, ONE))
    assert second.seen() == TermFile(file).seen() == Seen(1, {ONE: 2})
    second.add(Term(1, 1, ONE))
    second.add(Term(1, 1, TWO))
    assert first.seen() == Seen(1, {ONE: 2, TWO: 1})
    assert list(file.parent.iterdir()) == [file]


def test_processes_that_write_at_once_lose_nothing(file: Path) -> None:
    files = [TermFile(file) for _ in range(8)]
    together = threading.Barrier(len(files))

    def add(place: int) -> None:
        together.wait()
        for n in range(5):
            files[place].add(Term(1, n + 1, str(place)))

    threads = [threading.Thread(target=add, args=[place]) for place in range(len(files))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert TermFile(file).seen() == Seen(1, {str(place): 5 for place in range(len(files))})


def test_a_file_that_cannot_be_written_is_replaced_by_memory(caplog: pytest.LogCaptureFixture) -> None:
    held = TermFile(Path("/proc/self/no folder/term.json"))
    held.add(Term(1, 2, ONE))
    held.add(Term(1, 3, ONE))
    assert held.seen() == Seen(1, {ONE: 3})
    assert [record.message for record in caplog.records] == ["the term of the database cannot be kept"]


@pytest.mark.parametrize("text", ["", "nothing", "[]", '{"era": 1}', '{"era": "x", "timelines": {}}'])
def test_a_file_that_cannot_be_understood_lets_no_database_pass(file: Path, guarded: TermGuard, text: str) -> None:
    file.write_text(text)
    with pytest.raises(StaleDatabaseError, match="cannot be read"):
        connection.ensure_connection()
    assert connection.connection is None


def test_the_database_in_use_is_recorded(file: Path, guarded: TermGuard) -> None:
    connection.ensure_connection()
    term = here()
    assert json.loads(file.read_text()) == {"era": term.era, "timelines": {term.system: term.timeline}}
    assert (term.era, term.timeline) == (1, 1)


def test_a_former_primary_is_neither_read_nor_written(
    file: Path, guarded: TermGuard, agent: Api, caplog: pytest.LogCaptureFixture
) -> None:
    promoted(file)
    connection.close()
    for answer in (agent.get("/sessions"), agent.post("/sessions", {"agent_role": "finance"}), agent.get("/readyz")):
        assert_refused(answer, 503, "database-stale")
        assert answer.headers["Retry-After"] == "2"
    keyed = agent.post("/sessions", {"agent_role": "finance"}, idempotency_key="one-of-a-kind")
    assert_refused(keyed, 503, "database-stale")
    assert agent.get("/health").status_code == 503
    assert "stale database refused" in {record.message for record in caplog.records}
    with pytest.raises(DatabaseStale):
        boundary.write(lambda: None)
    file.unlink()
    again = TermGuard(file)
    connection_created.disconnect(guarded.judge)
    connection_created.connect(again.judge)
    try:
        assert agent.get("/sessions").status_code == 200
    finally:
        connection_created.disconnect(again.judge)


def test_each_host_of_the_address_is_tried_and_the_refused_one_comes_last(
    file: Path, guarded: TermGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(connection.copy()) as beside:
        beside.connect()
        host, port = beside.connection.info.host, beside.connection.info.port
    promoted(file)
    tried: list[Any] = []
    accepts = guarded._accepts

    def accepting(one: Any) -> bool:
        tried.append(one.settings_dict["HOST"])
        return accepts(one)

    monkeypatch.setattr(guarded, "_accepts", accepting)
    with closing(connection.copy()) as several:
        several.settings_dict.update(HOST=f"{host},/nowhere", PORT=str(port))
        with pytest.raises(StaleDatabaseError):
            several.connect()
        assert tried == [f"{host},/nowhere", f"/nowhere,{host}"]
        assert several.connection is None
        assert several.settings_dict["HOST"] == f"/nowhere,{host}"


class Server:
    """A connection to a server, of which only the address is known."""

    def __init__(self, place: dict[str, Any], host: str, port: int) -> None:
        self.settings_dict, self.connection, self.info = place, self, self
        self.host, self.port = host, port

    def get_connection_params(self) -> dict[str, Any]:
        return dict(self.settings_dict)

    def get_new_connection(self, _parameters: dict[str, Any]) -> "Server":
        return self

    def close(self) -> None: ...

    def set_autocommit(self, _is_on: bool) -> None: ...

    def init_connection_state(self) -> None: ...


def test_threads_that_reorder_the_hosts_at_once_keep_each_with_its_port(guarded: TermGuard) -> None:
    half_written, other_is_done = threading.Event(), threading.Event()

    class Shared(dict[str, Any]):
        """The settings of an address, whose first writer is slow between the host and the port."""

        def __setitem__(self, name: str, value: Any) -> None:
            super().__setitem__(name, value)
            if name == "HOST" and not half_written.is_set():
                half_written.set()
                other_is_done.wait(0.3)

    shared = Shared(HOST="a,b,c", PORT="1,2,3", AUTOCOMMIT=True)
    first = in_a_thread(lambda: guarded._go_on(cast(Any, Server(shared, "a", 1))))
    assert half_written.wait(10)
    second = in_a_thread(lambda: guarded._go_on(cast(Any, Server(shared, "b", 2))))
    second.add_done_callback(lambda _: other_is_done.set())
    first.result(10), second.result(10)
    assert (shared["HOST"], shared["PORT"]) == ("c,a,b", "3,1,2")


def test_a_connection_that_a_promotion_overtook_is_closed_before_the_next_request(
    file: Path, guarded: TermGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded, "_is_installed", True)
    connection.ensure_connection()
    before = connection.connection
    guarded.close_overtaken()
    assert connection.connection is before
    promoted(file)
    guarded.close_overtaken()
    assert connection.connection is None


def test_nothing_is_asked_again_while_a_connection_lasts(
    guarded: TermGuard, agent: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    accepts = guarded._accepts

    def accepting(one: Any) -> bool:
        asked.append(one)
        return accepts(one)

    monkeypatch.setattr(guarded, "_accepts", accepting)
    for _ in range(3):
        assert agent.get("/sessions").status_code == 200
    assert len(asked) == 1
