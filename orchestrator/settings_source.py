"""What can be set, read from the source of the settings: each name that a reader of `env` is asked for."""

import ast
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).resolve().parent
SOURCES = {
    "The service": _HERE / "settings.py",
    "Logging in to the admin": _HERE / "login_settings.py",
    "Logs": _HERE / "log_settings.py",
    "gunicorn": _HERE.parent / "docker" / "gunicorn.conf.py",
}
"""By the heading that each gets."""
_SECRETS = ("secret", "optional_secret", "optional_secrets", "database", "worker_database", "redis_url")
_TAKES = {
    "text": "text",
    "name": "a name",
    "flag": "`on` or `off`",
    "names": "a comma list",
    "acr_values": "a comma list",
    "networks": "a comma list of addresses and networks",
    "url": "an http or https address",
    "place": "a path",
    "origin": "the name of a log",
    "rate": "`<calls>/<seconds>` or `off`",
    "secret": "a secret",
    "optional_secret": "a secret",
    "optional_secrets": "secrets, one a line",
    "moment": "a time such as `2026-01-31T09:00:00Z`",
    "database": "a `postgresql://` address",
    "worker_database": "a `postgresql://` address",
    "redis_url": "a `redis://`, `rediss://` or `unix://` address",
    "seconds": "seconds",
    "get": "text",
}
_FOLDERS = {"VAR": "$ORCHESTRATOR_VAR", "BASE_DIR": ""}
_ARITHMETIC = {ast.Mult: operator.mul, ast.Add: operator.add, ast.Pow: operator.pow, ast.Div: operator.truediv}


@dataclass(frozen=True)
class Setting:
    """One variable of the environment."""

    name: str
    takes: str
    default: str | None
    """What holds unless it is set; None where nothing does."""
    means: str
    is_secret: bool
    """Whether NAME_FILE may name a file that has it."""


def settings_of(source: Path) -> list[Setting]:
    """Those that a file reads, in its order. The string after a statement says what is read there."""
    found: dict[str, Setting] = {}
    body = ast.parse(source.read_text(encoding="utf-8")).body
    for statement, after in zip(body, [*body[1:], None], strict=True):
        told = _text(after)
        for call in _calls(statement):
            for setting in _read(call, told):
                found.setdefault(setting.name, setting)
    return list(found.values())


def _text(statement: ast.stmt | None) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return " ".join(str(statement.value.value).split())
    return ""


def _calls(statement: ast.stmt) -> Iterator[ast.Call]:
    """The calls `env.<reader>(…)` and `os.environ.get(…)` in a statement, in the order in which they are written."""
    calls = (node for node in ast.walk(statement) if isinstance(node, ast.Call))
    asked = (call for call in calls if ast.unparse(call.func).startswith(("env.", "os.environ.get")))
    # TRUSTED_PROXIES is the settings' own, which gunicorn reads as well.
    asked = (call for call in asked if len(call.args) != 1 or not ast.unparse(call.func).startswith("os."))
    yield from sorted(asked, key=lambda call: (call.lineno, call.col_offset))


def _read(call: ast.Call, told: str) -> Iterator[Setting]:
    reader = ast.unparse(call.func).rpartition(".")[2]
    arguments = [_value(argument) for argument in call.args]
    if reader == "issuers":
        yield from _issuers(told)
    elif arguments:
        takes, default = _shape(reader, arguments[1:])
        yield Setting(str(arguments[0]), takes, default, told, reader in _SECRETS)


def _shape(reader: str, given: list[object]) -> tuple[str, str | None]:
    """What it takes, and what holds unless it is set."""
    if reader == "choice":
        words, default = given
        return "one of " + ", ".join(f"`{word}`" for word in _listed(words)), str(default)
    if reader == "whole":
        default, low, high = given
        return f"a whole number from {low} to {high}", str(default)
    default = given[0] if given else None if reader in ("secret", "database", "text", "url") else ""
    if isinstance(default, bool):
        return _TAKES[reader], "on" if default else "off"
    if isinstance(default, tuple):
        return _TAKES[reader], ",".join(_listed(default))
    return _TAKES[reader], None if default is None else str(default)


def _listed(words: object) -> list[str]:
    return [str(word) for word in words] if isinstance(words, tuple) else []


def _value(node: ast.expr) -> object:
    """What an expression of the settings comes to, as a reader of the table wants it; else its source."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return f"{_FOLDERS.get(ast.unparse(node.left), '')}/{_value(node.right)}".lstrip("/")
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        return _ARITHMETIC[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return "on; in production off"
    try:
        known: object = ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)
    return known


def _issuers(told: str) -> Iterator[Setting]:
    """Read inside `env.issuers()`: its statement tells of each, as `NAME (takes): what it means.`, and so on."""
    for part in told.split(" - ")[1:]:
        head, _, means = part.partition(": ")
        name, _, takes = head.partition(" (")
        yield Setting(name.strip("`"), takes.removesuffix(")"), "", means, name.strip("`") == "OIDC_ISSUERS")
