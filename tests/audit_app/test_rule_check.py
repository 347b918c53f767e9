"""Rules that were broken about one subject are found by its id, however many there are before it."""

from collections.abc import Callable

import pytest

from audit_app import rule_check
from tests.audit_app import tampered_work
from tests.audit_app.seals import Place, findings
from tests.audit_app.tampered_work import Found, Work
from tests.audit_app.tampering import Super, unguarded

pytestmark = pytest.mark.django_db(transaction=True)

Tamper = Callable[[Work, Super], Found]

PAIRS: dict[str, tuple[Tamper, Tamper]] = {
    "own-matter": (tampered_work.approved_by_its_requester, tampered_work.approved_by_the_holder_of_the_task),
    "quorum": (tampered_work.approved_twice_by_one_person, tampered_work.approved_by_fewer_than_have_to),
    "use": (tampered_work.grant_used_by_another, tampered_work.grant_used_without_an_approval),
    "holder": (tampered_work.task_completed_by_another, tampered_work.lease_that_is_not_counted),
}
"""Two subjects each about which a rule of that kind was broken."""


@pytest.mark.parametrize("kind", PAIRS)
def test_finds_what_one_subject_broke_beside_more_than_are_told(
    place: Place, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(rule_check, "MOST", 1)
    honest = tampered_work.honest_work()
    with unguarded() as beside:
        broken = [found for tamper in PAIRS[kind] for found in tamper(honest, beside)]
        for found, name, seq in broken:
            row = getattr(honest, str(name))
            told = findings(place, "--subject", f"{row.NOUN}:{row.pk}", anchor=False)
            assert told == [(found, str(row.pk), seq)]
