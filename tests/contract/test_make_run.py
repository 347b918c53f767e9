"""`make run`: starts alone, stops wholly, comes back with everything it acknowledged."""

import json
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.embedded import Server
from tests.contract.running import Running, call, free_port, running


@pytest.fixture
def var(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("run") / "var"
    yield folder
    Server.within(folder).stop()


@pytest.mark.slow
def test_prints_a_line_that_opens_a_session_when_pasted(var: Path) -> None:
    with running(var) as service:
        (line,) = re.findall(r"^curl .*$", service.printed, re.MULTILINE)
        pasted = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
        session = json.loads(pasted.stdout)
        assert (session["status"], session["agent_role"]) == ("pending", "finance")
        assert call(service, "GET", f"/sessions/{session['session_id']}") == (200, session)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_it_started(var: Path, how: signal.Signals) -> None:
    with running(var) as service:
        assert any("postgres" in line for line in service.left_over())
        service.end(how)
        assert service.left_over() == []


@pytest.mark.slow
def test_starts_again_with_its_data(var: Path) -> None:
    with running(var) as service:
        _, session = call(service, "POST", "/sessions", {"agent_role": "finance"})
    with running(var) as again:
        assert call(again, "GET", f"/sessions/{session['session_id']}") == (200, session)


@pytest.mark.slow
def test_one_killed_in_mid_load_comes_back_with_every_acknowledged_write(var: Path) -> None:
    acknowledged: list[dict[str, Any]] = []

    def load(service: Running) -> None:
        try:
            while True:
                status, session = call(service, "POST", "/sessions", {"agent_role": "finance"})
                assert status == 201
                status, session = call(service, "PUT", f"/sessions/{session['session_id']}", {"status": "active"})
                assert status == 200
                acknowledged.append(session)
        except (OSError, urllib.error.URLError, json.JSONDecodeError):
            return  # it was killed: whatever was not acknowledged may be there or not

    with running(var) as service:
        callers = [threading.Thread(target=load, args=[service]) for _ in range(4)]
        for caller in callers:
            caller.start()
        while len(acknowledged) < 50:
            time.sleep(0.01)
        service.end(signal.SIGKILL)
        for caller in callers:
            caller.join()
        with running(var, service.port) as again:
            assert len(acknowledged) >= 50
            for session in acknowledged:
                assert call(again, "GET", f"/sessions/{session['session_id']}") == (200, session)


@pytest.mark.slow
def test_a_killed_server_and_a_killed_service_hinder_nothing(var: Path) -> None:
    with running(var) as service:
        _, session = call(service, "POST", "/sessions", {"agent_role": "finance"})
        postmaster = int((var / "postgres" / "postmaster.pid").read_text().split()[0])
        service.end(signal.SIGKILL)
        subprocess.run(["kill", "-9", str(postmaster)], check=True)
        with running(var, service.port) as again:
            assert call(again, "GET", f"/sessions/{session['session_id']}") == (200, session)


@pytest.mark.slow
def test_a_second_one_runs_beside_it_with_other_values(var: Path) -> None:
    with running(var) as first, running(var.with_name("var2")) as second:
        _, session = call(first, "POST", "/sessions", {"agent_role": "finance"})
        assert call(second, "GET", f"/sessions/{session['session_id']}")[0] == 404  # another database
        assert call(first, "GET", f"/sessions/{session['session_id']}")[0] == 200


@pytest.mark.slow
def test_refuses_a_folder_or_a_port_that_is_taken_with_a_sentence(var: Path) -> None:
    with running(var) as first:
        same_folder = Running(var, free_port())
        same_port = Running(var.with_name("var3"), first.port)
        assert (same_folder.process.wait(20), same_port.process.wait(20)) == (1, 1)
        assert "Set ORCHESTRATOR_VAR to another folder" in same_folder.printed
        assert "Choose another: PORT=" in same_port.printed
        assert call(first, "POST", "/sessions", {"agent_role": "finance"})[0] == 201


@pytest.mark.slow
def test_uses_the_database_that_database_url_names_even_if_it_comes_later(var: Path) -> None:
    server = Server.within(var.with_name("given"))
    server.start()
    server.stop()
    try:
        with running(var, DATABASE_URL=server.address("postgres")) as service:
            assert call(service, "POST", "/sessions", {"agent_role": "finance"})[0] == 503
            with pytest.raises(urllib.error.HTTPError, match="503"):
                urllib.request.urlopen(f"{service.url}/readyz", timeout=5)
            server.start()
            deadline = time.monotonic() + 20
            while call(service, "POST", "/sessions", {"agent_role": "finance"})[0] != 201:
                assert time.monotonic() < deadline, service.printed
                time.sleep(0.1)
            assert not (var / "postgres").exists()
    finally:
        server.stop()
