"""Moving tasks in the admin: from a task's page, and many of the list."""

from typing import Any
from uuid import uuid4

import pytest

from sessions_app.admin import moves
from sessions_app.models import Attempt, Task
from tests.admin import TASKS, Browser, buttons, ids, person, text
from tests.sessions_app.session_calls import UNKNOWN_ID, last_event, only_refused, somebody, stored, unchanged
from tests.sessions_app.task_states import TASKS_IN, active, asked, completed, failed, manager, pending, retried
from tests.sessions_app.test_query_counts import costs
from tests.work import assert_chain_holds

pytestmark = pytest.mark.django_db(transaction=True)

REASON = {"reason": "It hangs.\r\nSince noon."}
MADE = {
    ("pending", "cancel"): ("cancelled", "task.cancelled", "The task is cancelled."),
    ("active", "cancel"): ("active", "task.cancel_requested", "Its holder is told to stop"),
    ("lapsed", "cancel"): ("cancelled", "task.cancelled", "The task is cancelled."),
    ("active", "force-release"): ("pending", "task.force_released", "The task is pending."),
    ("lapsed", "force-release"): ("pending", "task.force_released", "The task is pending."),
    ("asked", "force-release"): ("cancelled", "task.cancelled", "The task is cancelled."),
}
REFUSED = {
    ("completed", "cancel"): "The current state does not allow that: It is completed",
    ("failed", "cancel"): "The current state does not allow that: It is failed",
    ("cancelled", "cancel"): "The current state does not allow that: It is cancelled",
    ("pending", "force-release"): "The current state does not allow that: It is pending",
    ("completed", "force-release"): "The current state does not allow that: It is completed",
    ("pending", "retry"): "The current state does not allow that: It is pending",
    ("active", "retry"): "The current state does not allow that: It is active",
    ("cancelled", "retry"): "The current state does not allow that: It is cancelled",
}


@pytest.fixture
def browser() -> Browser:
    return Browser(person())


def move(browser: Browser, task: Task, name: str, fields: Any = REASON, **headers: str) -> Any:
    return browser.move(f"{TASKS}{task.pk}/", name, fields, **headers)


@pytest.mark.parametrize(("state", "name"), MADE)
def test_moves_a_task(browser: Browser, state: str, name: str) -> None:
    task = TASKS_IN[state]()
    status, event_type, told = MADE[state, name]
    page = move(browser, task, name)
    assert told in text(page)
    assert stored(task.pk, Task)["status"] == status
    event = last_event(task.pk)
    assert (event.event_type, event.reason, event.via) == (event_type, "It hangs.\nSince noon.", "admin")
    assert (event.actor_issuer, event.actor_subject, event.actor_kind) == ("local", "olga", "person")
    assert_chain_holds(task)


def test_asking_again_to_cancel_changes_nothing(browser: Browser) -> None:
    task = asked()
    with unchanged(task.pk, Task):
        assert "Its holder is told to stop" in text(move(browser, task, "cancel"))


def test_force_release_ends_the_attempt(browser: Browser) -> None:
    task = active()
    move(browser, task, "force-release")
    assert Attempt.objects.get(task=task).outcome == "force-released"


def test_a_retry_is_a_new_task_and_its_page_tells_so(browser: Browser) -> None:
    task = failed()
    with unchanged(task.pk, Task):
        page = move(browser, task, "retry")
    again = Task.objects.get(retry_of=task)
    assert f"This task tries again what {task.pk} failed at." in text(page)
    assert f"Id {again.pk} Status pending" in text(page)
    event = last_event(again.pk)
    assert (event.event_type, event.reason, event.via) == ("task.created", "It hangs.\nSince noon.", "admin")


def test_a_second_retry_is_refused_and_names_the_first(browser: Browser) -> None:
    task, again = retried()
    with unchanged(task.pk, Task):
        page = move(browser, task, "retry")
    assert f"The task has been retried already: The task {again.pk} retries it." in text(page)
    assert Task.objects.count() == 2


@pytest.mark.parametrize(("state", "name"), REFUSED)
def test_tells_in_a_sentence_why_a_move_is_refused(browser: Browser, state: str, name: str) -> None:
    task = TASKS_IN[state]()
    with unchanged(task.pk, Task):
        page = move(browser, task, name)
    assert page.status_code == 200
    assert REFUSED[state, name] in text(page)


@pytest.mark.parametrize(
    ("name", "words"), [("cancel", "Cancel"), ("force-release", "Force-release"), ("retry", "Retry")]
)
def test_a_get_shows_the_form_and_changes_nothing(browser: Browser, name: str, words: str) -> None:
    task = failed() if name == "retry" else active()
    with unchanged(task.pk, Task):
        answer = browser.get(f"{TASKS}{task.pk}/move/{name}/?reason=because")
    assert answer.status_code == 200
    assert f"{words} this task" in text(answer)
    assert '<form method="post"' in answer.content.decode()
    assert Task.objects.count() == 1


@pytest.mark.parametrize("name", ["cancel", "force-release"])
def test_asks_for_a_reason(browser: Browser, name: str) -> None:
    task = active()
    with unchanged(task.pk, Task):
        for fields in ({}, {"reason": " \r\n "}):
            assert "This field is required." in text(move(browser, task, name, fields))


@pytest.mark.parametrize("name", ["cancel", "force-release"])
def test_refuses_a_post_that_no_form_of_ours_sent(browser: Browser, name: str) -> None:
    task = active()
    form = {"action": name.replace("-", "_"), "_selected_action": [task.pk], "reason": "so"}
    with unchanged(task.pk, Task):
        answers = [
            browser.forge(f"{TASKS}{task.pk}/move/{name}/", REASON),
            browser.forge(TASKS, form),
            move(browser, task, name, origin="https://elsewhere.example"),
        ]
    assert [answer.status_code for answer in answers] == [403, 403, 403]


@pytest.mark.parametrize("roles", [("auditor",), ("agent",), ("agent", "auditor", "approver")])
@pytest.mark.parametrize("name", ["cancel", "force-release", "retry"])
def test_refuses_those_who_may_only_look(roles: tuple[str, ...], name: str) -> None:
    task, browser = failed() if name == "retry" else active(), Browser(person(roles=roles, agent_roles=("finance",)))
    with only_refused(task.pk, name, model=Task):
        forged = move(browser, task, name)
        form = browser.get(f"{TASKS}{task.pk}/move/{name}/")
    assert forged.status_code == form.status_code == 403
    assert Task.objects.count() == 1


def test_whoever_made_a_task_may_cancel_it_but_not_steer_it() -> None:
    mona = Browser(person("mona", roles=("agent", "approver"), agent_roles=("manager",)))
    task = active()
    with only_refused(task.pk, "force-release", model=Task):
        assert move(mona, task, "force-release").status_code == 403
    assert buttons(move(mona, task, "cancel")) == []
    assert last_event(task.pk).event_type == "task.cancel_requested"


def test_what_is_of_another_tenant_looks_missing(browser: Browser) -> None:
    task = pending(by=manager("acme"))
    with unchanged(task.pk, Task):
        assert move(browser, task, "cancel").status_code == 404
    assert browser.get(f"{TASKS}{UNKNOWN_ID}/move/cancel/").status_code == 404


@pytest.mark.parametrize("name", ["complete", "claim", "force_release", "CANCEL", "delete", "cancelled"])
def test_knows_no_other_moves(browser: Browser, name: str) -> None:
    task = active()
    with unchanged(task.pk, Task):
        assert move(browser, task, name).status_code == 404


def test_refuses_whoever_is_not_logged_in() -> None:
    task = active()
    with unchanged(task.pk, Task):
        answer = Browser().send(f"{TASKS}{task.pk}/move/cancel/", REASON, token_of="/admin/login/")
    assert answer["Location"].startswith("/admin/login/")


def test_many_are_asked_for_a_reason_first(browser: Browser) -> None:
    one, other = active().pk, pending().pk
    with unchanged(one, Task), unchanged(other, Task):
        empty = browser.tick(TASKS, "cancel", one, other, reason=" ")
    assert "Cancel 2 tasks" in text(empty)
    assert f"{one} {other}" in text(empty)
    assert "This field is required." in text(empty)


def test_one_refusal_is_told_while_the_others_are_cancelled(browser: Browser) -> None:
    before, refused, after, missing = pending().pk, completed().pk, active().pk, uuid4()
    with unchanged(refused, Task):
        page = browser.tick(TASKS, "cancel", before, refused, missing, after)
    assert f"{refused}: It is completed" in text(page)
    assert f"{missing}: There is no such thing, or it is not yours to see." in text(page)
    assert "2 of 4 tasks called off." in text(page)
    first, last = last_event(before), last_event(after)
    assert (first.event_type, last.event_type) == ("task.cancelled", "task.cancel_requested")
    assert first.reason == last.reason == "cleaning up"
    assert first.xid != last.xid


def test_one_refusal_is_told_while_the_others_are_force_released(browser: Browser) -> None:
    before, refused, after = active().pk, pending().pk, active().pk
    with unchanged(refused, Task):
        page = browser.tick(TASKS, "force_release", before, refused, after)
    assert f"{refused}: It is pending" in text(page)
    assert "2 of 3 tasks force-released." in text(page)
    assert {last_event(pk).event_type for pk in (before, after)} == {"task.force_released"}


def test_many_go_on_for_a_limited_time(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    task = active().pk
    monkeypatch.setattr(moves, "PATIENCE_SECONDS", -1)
    with unchanged(task, Task):
        page = browser.tick(TASKS, "force_release", task)
    assert f"{task}: Not tried: the others took too long." in text(page)
    assert "0 of 1 tasks force-released." in text(page)


def test_each_of_many_is_judged_by_whose_it_is() -> None:
    mona = Browser(person("mona", roles=("agent", "approver"), agent_roles=("manager", "finance")))
    own, other = pending().pk, pending(by=somebody("max", agent_roles=("manager",))).pk
    with only_refused(other, "cancel", model=Task):
        page = mona.tick(TASKS, "cancel", own, other)
    assert f"{other}: You may see this task but not cancel it." in text(page)
    assert "1 of 2 tasks called off." in text(page)


@pytest.mark.parametrize("roles", [("auditor",), ("agent", "auditor")])
def test_many_are_not_force_released_by_those_who_may_not(roles: tuple[str, ...]) -> None:
    task, browser = active().pk, Browser(person(roles=roles, agent_roles=("finance",)))
    with unchanged(task, Task):
        page = browser.tick(TASKS, "force_release", task)
    assert ids(page) == [str(task)]


def test_takes_what_the_call_of_the_api_takes(browser: Browser) -> None:
    task = pending()
    token = browser.get("/admin/").content.decode().split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    message = ("BEGIN", "UPDATE", "COMMIT")
    with costs("SELECT", "SELECT", "BEGIN", "SELECT", "SELECT", "UPDATE", "INSERT", "SELECT", "COMMIT", *message):
        browser.forge(f"{TASKS}{task.pk}/move/cancel/", {**REASON, "csrfmiddlewaretoken": token})
