"""A month's worth of work that five roles of a company route to each other; the same each time."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

COUNT = 300
MONTH = "2026-11"
LEADING = "demo."
"""What each type begins with, so that no worker of the demo takes work that is not the demo's."""

_SUPPLIERS = ("Hansen Bürobedarf", "Nordlicht Energie", "Alster Druck", "Kontor Reisen", "Weser IT-Systeme")
_PEOPLE = ("Amira Yıldız", "Jonas Petersen", "Léa Moreau", "Ngozi Okafor", "Piotr Zieliński", "Sofia Lindqvist")
_POSTS = ("Data Engineer", "Account Manager", "Payroll Specialist", "Site Reliability Engineer", "Legal Counsel")
_TROUBLES = ("ledger-locked", "mailbox-full", "portal-away", "scan-unreadable")


@dataclass(frozen=True)
class Kind:
    """Work of one type: who asks whom for it, and what it says."""

    name: str
    from_role: str
    to_role: str
    says: str

    @property
    def task_type(self) -> str:
        """As the service has it."""
        return LEADING + self.name


KINDS = (
    Kind("invoice", "procurement", "finance", "Pay invoice {reference} of {supplier}."),
    Kind("budget", "manager", "finance", "Say what is left of the budget for {post}s, {reference}."),
    Kind("payroll", "hr", "finance", "Pay {person} the overtime of {month}, {reference}."),
    Kind("hiring", "manager", "hr", "Screen the applications for {post}, {reference}."),
    Kind("onboarding", "manager", "hr", "Prepare the first day of {person}, {reference}."),
    Kind("contract", "hr", "legal", "Draft the contract of employment of {person} as {post}, {reference}."),
    Kind("terms", "procurement", "legal", "Review the terms of {supplier}, {reference}."),
    Kind("signature", "legal", "manager", "Sign the agreement with {supplier}, {reference}."),
    Kind("leave", "hr", "manager", "Confirm the leave of {person}, {reference}."),
    Kind("ticket", "finance", "procurement", "Ask {supplier} about the difference on {reference}."),
    Kind("laptop", "hr", "procurement", "Order a laptop for {person}, {post}, {reference}."),
)
TYPES = sorted(kind.task_type for kind in KINDS)


@dataclass(frozen=True)
class Order:
    """One piece of work: who routes it, under which key, and what they send."""

    from_role: str
    key: str
    body: dict[str, Any]


def month(run: str) -> Iterator[Order]:
    """All of it. `run` sets the keys of one run apart from those of another."""
    chance = random.Random(MONTH)
    for number in range(1, COUNT + 1):
        kind = KINDS[number % len(KINDS)]
        words = {
            "reference": f"{kind.name.upper()}-{MONTH}-{number:04}",
            "supplier": chance.choice(_SUPPLIERS),
            "person": chance.choice(_PEOPLE),
            "post": chance.choice(_POSTS),
            "month": MONTH,
        }
        data = {"reference": words["reference"], "amount_cents": chance.randrange(900, 900_000)}
        if number % 12 == 0:
            # The first who tries it meets this; whoever tries it again does not.
            data["trouble"] = chance.choice(_TROUBLES)
        task = {"task_type": kind.task_type, "description": kind.says.format(**words), "data": data}
        body = {"target": kind.to_role, "task": task, "context": {"month": MONTH}}
        yield Order(kind.from_role, f"{run}-{words['reference']}", body)
