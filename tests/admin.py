"""People at the admin, and the browser that they sit at."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import unescape
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from orchestrator.people.models import Person

SESSIONS = "/admin/sessions_app/session/"
TASKS = "/admin/sessions_app/task/"
APPROVALS = "/admin/sessions_app/approval/"
EVENTS = "/admin/audit_app/auditevent/"
PASSWORD = "correct horse battery staple"


def person(
    name: str = "olga",
    *,
    roles: tuple[str, ...] = ("operator",),
    tenant: str = "default",
    agent_roles: tuple[str, ...] = (),
    **columns: Any,
) -> Person:
    """A member of staff, known as local|<name>; an operator of the tenant `default`, unless told otherwise."""
    known = {"subject": name, "is_staff": True, **columns}
    return Person.objects.create_user(name, None, roles=list(roles), tenant=tenant, agent_roles=agent_roles, **known)


class Browser:
    """A browser: it keeps cookies, and what it posts it takes from a page's form, token and all."""

    def __init__(self, who: Person | None = None) -> None:
        self.client = Client(enforce_csrf_checks=True, raise_request_exception=False)
        if who is not None:
            self.client.force_login(who, backend="django.contrib.auth.backends.ModelBackend")

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def forge(self, path: str, fields: Mapping[str, Any], **headers: str) -> Any:
        """POST fields to where no page of ours has a form, without a token."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(path, fields, headers=named)

    def send(self, path: str, fields: Mapping[str, Any], *, token_of: str | None = None, **headers: str) -> Any:
        """POST fields with the token of a page: of this path's own, unless told otherwise."""
        page = self.get(token_of or path)
        (token, *_) = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.content.decode())
        return self.forge(path, {**fields, "csrfmiddlewaretoken": token}, **headers)

    def move(self, where: str, name: str, fields: Mapping[str, Any], **headers: str) -> Any:
        """Post the form of a row's move, as its dialog does, and follow to the page that tells of it."""
        return self._follow(self.send(f"{where}move/{name}/", fields, token_of="/admin/", **headers))

    def tick(self, where: str, action: str, *ticked: Any, **fields: Any) -> Any:
        """Tick rows of a list, choose an action and give a reason; then follow to the list."""
        form = {"action": action, "_selected_action": [str(pk) for pk in ticked], "reason": "cleaning up", **fields}
        return self._follow(self.send(where, form, token_of="/admin/"))

    def _follow(self, answer: Any) -> Any:
        return self.get(answer["Location"]) if answer.status_code == 302 else answer


def text(answer: Any) -> str:
    """What a page says, without its markup."""
    found = re.sub(r"<(script|style).*?</\1>", " ", answer.content.decode(), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", found)).split())


def ids(answer: Any) -> list[str]:
    """The rows of a list, by id, in their order."""
    found = re.findall(r'<a href="/admin/\w+/\w+/([0-9a-f-]{36})/change/[^"]*" class="[^"]', answer.content.decode())
    return list(dict.fromkeys(found))


def buttons(answer: Any) -> list[str]:
    """The moves that a row's page offers, by name."""
    return list(dict.fromkeys(re.findall(r'href="[^"]*/move/([\w-]+)/"', answer.content.decode())))


@contextmanager
def statements(*expected: str) -> Iterator[None]:
    """Fails unless the block asks these tables, one statement after the other."""
    with CaptureQueriesContext(connection) as captured:
        yield
    asked = [query["sql"] for query in captured.captured_queries]
    table = re.compile(r"^(EXPLAIN)?.*?(?:FROM|INTO|UPDATE) \"?(\w+).*|^(\w+)$", re.DOTALL)
    told = [table.sub(r"\1\2\3", sql) for sql in asked]
    assert told == list(expected), "\n".join(asked)
