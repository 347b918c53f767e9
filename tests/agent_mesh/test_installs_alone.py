"""agent_mesh and bearer_tokens by themselves, as `pip install .[mesh]` puts them into an empty environment."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import agent_mesh
from tests.gunicorn_server import HERE

VERSION = agent_mesh.__version__
FILES = sorted(file for name in ("agent_mesh", "bearer_tokens") for file in (HERE / name).rglob("*.py"))
SEES = """
import importlib.util, pkgutil, sys
import agent_mesh, bearer_tokens
for package in (agent_mesh, bearer_tokens):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            __import__(module.name)
assert not {"django", "orchestrator", "sessions_app", "audit_app"} & set(sys.modules), "it drags the service in"
print(agent_mesh.__file__)
print(*[name for name in ("django", "orchestrator", "sessions_app", "tests") if importlib.util.find_spec(name)])
"""


def test_no_line_of_it_imports_the_service_or_django() -> None:
    imported: set[str] = set()
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                imported.add((node.module or "").partition(".")[0])
    ours = imported - set(sys.stdlib_module_names) - {"agent_mesh", "bearer_tokens"}
    declared = tomllib.loads((HERE / "pyproject.toml").read_text("utf-8"))["project"]
    needed = [*declared["dependencies"], *declared["optional-dependencies"]["mesh"]]
    known = {name.partition(">")[0].partition("[")[0] for name in needed}
    known |= {"jwt", "cryptography"}  # pyjwt[crypto]
    known |= {"anyio", "mcp_types", "pydantic", "starlette", "uvicorn"}  # mcp brings them
    assert ours <= known


def test_the_client_and_the_worker_need_httpx_alone() -> None:
    code = "import sys, agent_mesh.client; assert not {'mcp', 'typer', 'django', 'jwt'} & set(sys.modules)"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=HERE)


def test_its_version_is_the_distributions() -> None:
    assert tomllib.loads((HERE / "pyproject.toml").read_text("utf-8"))["project"]["version"] == agent_mesh.__version__


@pytest.mark.slow
def test_it_installs_and_imports_where_there_is_no_django(tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    # From a copy, since building leaves folders behind.
    copy = tmp_path / "source"
    copy.mkdir()
    archive = subprocess.run(
        ["tar", "-c", "--exclude=__pycache__", "agent_mesh", "bearer_tokens", "pyproject.toml", "README.md"],
        cwd=HERE,
        capture_output=True,
        check=True,
    )
    subprocess.run(["tar", "-x"], cwd=copy, input=archive.stdout, check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", f"{copy}[mesh]"], check=True, cwd=tmp_path)
    seen = subprocess.run([python, "-c", SEES], check=True, capture_output=True, text=True, cwd=tmp_path)
    where, others = seen.stdout.split("\n")[:2]
    assert Path(where).is_relative_to(tmp_path / "venv")
    assert others == ""
    program = python.with_name("orchestrator")
    assert subprocess.run([program, "version"], check=True, capture_output=True, text=True).stdout.strip() == VERSION
    served = subprocess.run([python, "-m", "agent_mesh", "--help"], check=True, capture_output=True, text=True)
    assert "--http" in served.stdout
