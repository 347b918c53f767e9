"""What a line may say depends on the room it stands in: the rules of the layout, read from the source."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.apps import apps

HERE = Path(__file__).parents[1]
PACKAGES = [
    name
    for name in ("orchestrator", "sessions_app", "audit_app", "agent_mesh", "bearer_tokens")
    if (HERE / name).is_dir()
]
FILES = [path.relative_to(HERE) for name in PACKAGES for path in sorted((HERE / name).rglob("*.py"))]
DRAWERS = {"utils", "util", "helpers", "common", "core", "base", "services", "selectors", "constants", "signals", "lib"}
LONGEST_FILE, LONGEST_FUNCTION = 500, 60
Rule = Callable[[Path, str], list[str]]

# Who writes the work. A migration states what the schema is; it moves no row of ours from state to state.
# People are rows of the house: they have no chain, and their app writes them.
WRITERS = ("sessions_app/transitions/", "sessions_app/migrations/", "orchestrator/people/")
WORK: set[str] = {model.__name__ for model in apps.get_app_config("sessions_app").get_models()} | {"Recorded"}
HOUSE: set[str] = {
    model.__name__ for model in apps.get_models() if model.__module__.startswith(("orchestrator", "audit_app"))
}
# Names that only a row, a manager or a queryset has: whoever speaks them is about to write.
WRITES = re.compile(r"a?(save|save_base|bulk_create|bulk_update|get_or_create|update_or_create|_raw_delete)")
# Names that dictionaries, sets and caches have too: writes where what stands before them leads to rows.
MAY_WRITE = re.compile(r"a?(create|update|delete)")
LEADS_TO_ROWS = WORK | {
    "objects",
    "_default_manager",
    "_base_manager",
    "queryset",
    "get_queryset",
    "QuerySet",
    "Manager",
}
LEADS_TO_ROWS |= {"filter", "exclude", "order_by", "annotate", "select_for_update", "visible", "find", "hold", "lock"}
LEADS_TO_ROWS |= {
    str(relation.get_accessor_name())
    for model in apps.get_app_config("sessions_app").get_models()
    for relation in model._meta.related_objects
}
HTTP = re.compile(r"(rest_framework|django\.(http|views|shortcuts|urls|middleware))\b")
WRITING_SQL = re.compile(
    # The table's name, or the place for one.
    r"\b(INSERT INTO|UPDATE|DELETE FROM|TRUNCATE|MERGE INTO)\s+\"?((sessions|tasks|approvals)\b|\Z)",
    re.IGNORECASE,
)


def names_in(node: ast.AST | None) -> set[str]:
    """Every name and attribute in an expression; an annotation in quotes is read too."""
    found: set[str] = set()
    for part in ast.walk(node) if node is not None else ():
        if isinstance(part, ast.Name):
            found.add(part.id)
        elif isinstance(part, ast.Attribute):
            found.add(part.attr)
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            found.update(re.findall(r"\w+", part.value))
    return found


def bindings(tree: ast.AST) -> Iterator[tuple[ast.AST, ast.AST | None]]:
    """Each place where a name gets its meaning, with the expression that gives it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield ast.Name(node.arg), node.annotation
        elif isinstance(node, ast.Assign):
            yield from ((target, node.value) for target in node.targets)
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
            yield node.target, node.value
            yield node.target, getattr(node, "annotation", None)
        elif isinstance(node, ast.For | ast.comprehension):
            yield node.target, node.iter
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            yield node.optional_vars, node.context_expr


def meanings(tree: ast.AST) -> dict[str, set[str]]:
    """What each name of a file leads back to, through however many assignments."""
    known: dict[str, set[str]] = {}
    for target, source in bindings(tree):
        for name in ast.walk(target):
            if isinstance(name, ast.Name):
                known.setdefault(name.id, set()).update(names_in(source))
    for _ in known:
        for led in known.values():
            led |= {further for name in led for further in known.get(name, ())}
    return known


def writes(path: Path, source: str) -> list[str]:
    """Lines that write rows of the work, outside the transitions. Rows of the house's own models are its own."""
    if str(path).startswith(WRITERS):
        return []
    tree = ast.parse(source)
    known = meanings(tree)
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and WRITING_SQL.search(node.value):
            found.append(f"{path}:{node.lineno} SQL")
        if not isinstance(node, ast.Attribute):
            continue
        said = names_in(node.value)
        said |= {further for name in said for further in known.get(name, ())}
        if said & HOUSE and not said & WORK and not str(path).startswith("sessions_app/"):
            continue
        if WRITES.fullmatch(node.attr) or (MAY_WRITE.fullmatch(node.attr) and _is_about_rows(node, calls, said)):
            found.append(f"{path}:{node.lineno} .{node.attr}")
    return found


def _is_about_rows(node: ast.Attribute, calls: dict[int, ast.Call], said: set[str]) -> bool:
    """A queryset's `update` takes no positional argument, a dictionary's does; `delete` of a row or a queryset takes
    none either, while a cache's names its key."""
    call = calls.get(id(node))
    if call is not None and call.args:
        return False
    return bool(said & LEADS_TO_ROWS) or (node.attr.endswith("delete") and call is not None)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def hidden_imports(path: Path, source: str) -> list[str]:
    """Imports inside a function."""
    inside = [node for function in functions(ast.parse(source)) for node in ast.walk(function)]
    hidden = [node for node in inside if isinstance(node, ast.Import | ast.ImportFrom)]
    called = [node for node in inside if isinstance(node, ast.Name) and node.id == "__import__"]
    return sorted({f"{path}:{node.lineno} imports" for node in (*hidden, *called)})


def too_long(path: Path, source: str) -> list[str]:
    """Files and functions beyond what can be read at a sitting."""
    found = [f"{path} {lines} lines"] if (lines := len(source.splitlines())) > LONGEST_FILE else []
    for function in functions(ast.parse(source)):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        if length > LONGEST_FUNCTION:
            found.append(f"{path}:{function.lineno} {function.name} has {length} lines")
    return found


def http_where_there_is_none(path: Path, source: str) -> list[str]:
    """Models, transitions and permissions know neither requests nor answers."""
    if not str(path).startswith(("sessions_app/models/", "sessions_app/transitions/", "sessions_app/permissions")):
        return []
    found = []
    for node in ast.walk(ast.parse(source)):
        named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            named = [f"{node.module}.{alias.name}" for alias in node.names]
        found += [f"{path} imports {name}" for name in named if HTTP.match(name)]
    return found


def settings_with_a_default(path: Path, source: str) -> list[str]:
    """A setting has its default in the settings, once."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or names_in(node.func) != {"getattr"}:
            continue
        if len(node.args) > 2 and "settings" in names_in(node.args[0]):
            found.append(f"{path}:{node.lineno} getattr(settings, …, default)")
    return found


def drawers(path: Path, source: str) -> list[str]:
    """A room is named for what happens in it."""
    return [f"{path} is a drawer"] if DRAWERS.intersection((*path.parts[:-1], path.stem)) else []


RULES: list[Rule] = [writes, hidden_imports, too_long, http_where_there_is_none, settings_with_a_default, drawers]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file_keeps_the_rule(rule: Rule) -> None:
    assert len(FILES) > 50
    assert [complaint for path in FILES for complaint in rule(path, (HERE / path).read_text())] == []


def test_the_transitions_write() -> None:
    """The rule sees what it looks for: the same files, said to stand elsewhere, are complained of."""
    for name in ("change.py", "writing.py", "batch.py"):
        assert writes(Path("sessions_app/views") / name, (HERE / "sessions_app/transitions" / name).read_text()) != []


PLANTED: list[tuple[Rule, str, str]] = [
    *(
        (writes, where, source)
        for where in ("sessions_app/views/x.py", "orchestrator/x.py", "audit_app/x.py")
        for source in (
            "session.save()",
            "Session(role='a').save(force_insert=True)",
            "def f(self, serializer): serializer.save()",
            "on_commit(session.save)",
            "cursor.execute(f'UPDATE \"{table}\" SET status = %s', [status])",
            "cursor.execute('DELETE FROM ' + table)",
            "Session.objects.create(role='a')",
            "Session.objects.filter(pk=1).update(status='active')",
            "Session._default_manager.bulk_update(rows, ['status'])",
            "Session.objects.get_or_create(role='a')",
            "async def f(): await Session.objects.aupdate(status='active')",
            "rows = visible(Session, actor)\nrows.update(status='active')",
            "rows = visible(Session, actor)\nfound = rows\nfound.delete()",
            "def f(rows: 'QuerySet[Session]') -> None: rows.update(status='failed')",
            "def f(task: Task) -> None: task.approvals.update(status='failed')",
            "def f(task): task.sessions.create(role='a')",
            "for row in Session.objects.all(): row.delete()",
            "session.delete()",
            "get_model('sessions_app.Session').objects.update(status='active')",
            "cursor.execute('UPDATE sessions SET status = 1')",
            "cursor.execute(f'DELETE FROM \"tasks\" WHERE id = {pk}')",
            "cursor.execute('INSERT INTO approvals VALUES (1)')",
        )
    ),
    (writes, "sessions_app/admin/x.py", "person = Person.objects.get()\nperson.save()"),
    (hidden_imports, "orchestrator/x.py", "def f():\n    import os"),
    (
        hidden_imports,
        "orchestrator/x.py",
        "class A:\n    async def f(self):\n        if 1:\n            from os import path",
    ),
    (hidden_imports, "orchestrator/x.py", "def f():\n    return __import__('os')"),
    (too_long, "orchestrator/x.py", "\n" * (LONGEST_FILE + 1)),
    (too_long, "orchestrator/x.py", "def f():\n" + "    a = 1\n" * LONGEST_FUNCTION),
    *(
        (http_where_there_is_none, where, source)
        for where in ("sessions_app/models/x.py", "sessions_app/transitions/x.py", "sessions_app/permissions.py")
        for source in (
            "import rest_framework",
            "from rest_framework.request import Request",
            "from django import http",
            "from django.http import HttpRequest",
            "def f():\n    import django.http",
        )
    ),
    (settings_with_a_default, "orchestrator/x.py", "getattr(settings, 'A', 1)"),
    (settings_with_a_default, "orchestrator/x.py", "getattr(django.conf.settings, name, None)"),
    *(
        (drawers, where, "")
        for where in ("orchestrator/utils.py", "sessions_app/services/x.py", "audit_app/signals.py")
    ),
]
INNOCENT: list[tuple[Rule, str, str]] = [
    (writes, "sessions_app/views/x.py", "found = {}\nfound.update(role='a')\nfound.update({'a': 1})"),
    (writes, "sessions_app/views/x.py", "hashlib.sha256().update(b'')\nos.environ.update(PORT='1')"),
    (writes, "sessions_app/views/x.py", "cache.delete('key')\ntransitions.delete(session, actor=actor)"),
    (writes, "sessions_app/views/x.py", "transitions.create(session)\nclass V:\n    def update(self): pass"),
    (
        writes,
        "sessions_app/views/x.py",
        "columns = set()\ncolumns.update(row.columns for row in visible(Session, actor))",
    ),
    (writes, "sessions_app/views/x.py", "'''UPDATE is not said of sessions here.'''"),
    (writes, "sessions_app/transitions/x.py", "session.save()"),
    (writes, "orchestrator/x.py", "person = Person.objects.get()\nperson.save()\nPerson.objects.filter(pk=1).delete()"),
    (writes, "audit_app/x.py", "def f(event: AuditEvent): event.save()\nAuditEvent.objects.create()"),
    (hidden_imports, "orchestrator/x.py", "import os\nif TYPE_CHECKING:\n    import sys\nclass A:\n    import json"),
    (too_long, "orchestrator/x.py", "\n" * LONGEST_FILE),
    (too_long, "orchestrator/x.py", "@decorated\ndef f():\n" + "    a = 1\n" * (LONGEST_FUNCTION - 1)),
    (http_where_there_is_none, "sessions_app/views/x.py", "from rest_framework.request import Request"),
    (http_where_there_is_none, "sessions_app/models/x.py", "from django.db import models\nfrom x import http"),
    (settings_with_a_default, "orchestrator/x.py", "getattr(settings, 'A')\ngetattr(request, 'caller', None)"),
    (drawers, "orchestrator/boundary.py", ""),
    (drawers, "orchestrator/database.py", ""),
]


@pytest.mark.parametrize(("rule", "where", "source"), PLANTED)
def test_a_rule_fires_on_what_breaks_it(rule: Rule, where: str, source: str) -> None:
    assert rule(Path(where), source)


@pytest.mark.parametrize(("rule", "where", "source"), INNOCENT)
def test_a_rule_lets_pass_what_only_looks_like_it(rule: Rule, where: str, source: str) -> None:
    assert rule(Path(where), source) == []
