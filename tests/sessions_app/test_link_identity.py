"""manage.py link_identity"""

from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from audit_app.models import AuditEvent
from orchestrator import boundary
from orchestrator.actors import Identity
from orchestrator.people.models import Person
from orchestrator.problems import InvalidRequest
from sessions_app.models import Approval
from sessions_app.transitions import person as transitions
from tests.sessions_app.agreement_calls import operator_actor
from tests.sessions_app.approval_states import agreed, approver, requested

pytestmark = pytest.mark.django_db(transaction=True)

PETRA, OTHER = Identity("local", "petra"), Identity("local", "petra-2")


def run(*flags: str, **given: str | None) -> str:
    """Link petra-2 with petra, unless told otherwise; None leaves an argument out."""
    known: dict[str, str | None] = {
        "tenant": "default",
        "issuer": "local",
        "subject": "petra-2",
        "same_as_issuer": "local",
        "same_as_subject": "petra",
        "reason": "two accounts",
        **given,
    }
    words = [f"--{name.replace('_', '-')}={value}" for name, value in known.items() if value is not None]
    out = StringIO()
    call_command("link_identity", *words, *flags, stdout=out)
    return out.getvalue().strip()


def linked() -> list[Identity]:
    return transitions.linked("default", PETRA)


def test_links_two_identities_with_an_event() -> None:
    assert run() == "local|petra-2 and local|petra count as one person."
    assert linked() == [PETRA, OTHER]
    event = AuditEvent.objects.get(event_type="person.linked")
    assert (event.seq, event.reason, event.via) == (2, "two accounts", "job")
    assert event.tenant == "default"
    assert (event.actor_issuer, event.actor_subject, event.actor_kind) == ("local", "job:link_identity", "job")
    assert event.metadata["changes"]["same_as"] == {"issuer": "local", "subject": "petra"}


def test_sets_aside_what_would_count_twice() -> None:
    approval = requested(required_approvals=3)
    for name in ("petra", "petra-2"):
        agreed(approval, by=approver(name))
    run()
    assert Approval.objects.get(pk=approval.pk).granted == 1


def test_linking_what_is_linked_changes_nothing() -> None:
    for _ in range(2):
        run()
    assert AuditEvent.objects.filter(event_type="person.linked").count() == 1


def test_unlinks() -> None:
    run()
    assert run("--unlink") == "local|petra-2 counts as a person of its own."
    assert linked() == [PETRA]
    run()
    assert run("--unlink", same_as_issuer=None, same_as_subject=None) == "local|petra-2 counts as a person of its own."
    told = [one.event_type for one in AuditEvent.objects.order_by("seq")]
    assert told == ["person.recorded", *["person.linked", "person.unlinked"] * 2]


def test_reads_subjects_as_tokens_give_them() -> None:
    run(subject="Rene\u0301")
    assert Identity("local", "Ren\u00e9") in linked()


def test_links_within_one_tenant() -> None:
    run(tenant="acme")
    assert linked() == [PETRA]
    assert transitions.linked("acme", PETRA) == [PETRA, OTHER]


@pytest.mark.parametrize(
    ("given", "flags", "told"),
    [
        (
            {"same_as_issuer": None, "same_as_subject": None},
            (),
            "Linking needs --same-as-issuer and",
        ),
        ({"same_as_issuer": None}, (), "--same-as-issuer and --same-as-subject go together."),
        ({"same_as_subject": None}, ("--unlink",), "--same-as-issuer and --same-as-subject go together."),
        ({"subject": "petra"}, (), "These are the same identity."),
        ({"subject": " "}, (), "--subject must not be blank."),
        ({"reason": ""}, (), "--reason must not be blank."),
        ({"reason": "r" * 4001}, (), "--reason has at most 4000 characters."),
        ({"same_as_subject": "s" * 256}, (), "--same-as-subject has at most 255 characters."),
        ({"tenant": "t" * 65}, (), "--tenant has at most 64 characters."),
        ({"subject": "petra\u200b"}, (), "--subject must be printable."),
        ({"issuer": "https://elsewhere.example"}, (), "No issuer https://elsewhere.example is configured"),
        ({"same_as_issuer": "https://elsewhere.example"}, (), "No issuer https://elsewhere.example is configured"),
        ({"subject": "paul"}, ("--unlink",), "local|paul is not linked with local|petra."),
        (
            {"same_as_issuer": None, "same_as_subject": None},
            ("--unlink",),
            "It is no alias of another identity.",
        ),
    ],
    ids=str,
)
def test_says_what_is_wrong(given: dict[str, Any], flags: tuple[str, ...], told: str) -> None:
    with pytest.raises(CommandError) as refused:
        run(*flags, **given)
    assert told in str(refused.value)
    assert refused.value.returncode == 1
    assert not AuditEvent.objects.exists()
    assert not Person.objects.filter(alias_of__isnull=False).exists()


def test_an_identity_that_is_linked_with_another_person_is_not_linked_again() -> None:
    run()
    with pytest.raises(CommandError, match=r"It is linked with another person\. Unlink it first\."):
        run(same_as_subject="paul")


def test_an_identity_of_an_issuer_that_is_configured_no_more_is_linked_if_it_is_known() -> None:
    Person.objects.create_user("old", subject="petra", issuer="https://old.example")
    run(issuer="https://old.example", subject="petra")
    assert Identity("https://old.example", "petra") in linked()


def test_a_person_who_is_cut_off_is_not_linked_with_one_who_is_not() -> None:
    operator = operator_actor()
    boundary.write(lambda: transitions.cut_off(PETRA, actor=operator, reason="left"))
    for one, other in ((PETRA, OTHER), (OTHER, PETRA)):
        with pytest.raises(InvalidRequest):
            boundary.write(partial(transitions.link, one, other, tenant="default", actor=operator, reason="same"))
