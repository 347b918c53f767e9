"""The callers of the rights matrix, and the words of its cells."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.api import token
from tests.orchestrator.tokens import GONE, after, saying

HIDDEN = "200, without it"
"""What a list or a claim answers that does not have the row."""

Cell = int | str
Line = dict[str, tuple[Cell, Cell]]
"""By each caller: what is answered on their own row, and on the foreign one."""

EVERYTHING = {"roles": ["agent", "approver", "auditor", "operator"]}

# Alice made the row `own`, for the role finance; zoe the row `foreign`, for legal. Both are of the tenant default.
OWNERS = {"own": ("alice", "finance"), "foreign": ("zoe", "legal")}

CALLERS: dict[str, Callable[[], str | None]] = {
    "no token": lambda: None,
    "expired": saying(exp=after(-31), tenant="default", realm_access=EVERYTHING, agent_roles=["finance", "legal"]),
    "other tenant": lambda: token("alice", "agent,approver,auditor,operator", "finance,legal", tenant="other"),
    "no role": lambda: token("alice", "", "finance,legal"),
    "agent of the role": lambda: token("bob"),
    "agent of another role": lambda: token("bob", agent_roles="sales"),
    "owner": lambda: token("alice", agent_roles="sales"),
    "approver": lambda: token("mia", "approver"),
    "requester as approver": lambda: token("alice", "approver"),
    "auditor": lambda: token("ada", "auditor", ""),
    "operator": lambda: token("olga", "operator", ""),
    "service account": lambda: token("billing", service_account=True),
    "agent for a person": lambda: token("olga", "agent,operator,approver", "finance", act_subject="bot"),
}


@dataclass(frozen=True)
class Variant:
    """A caller who may do what another one may, but for some operations."""

    bearer: Callable[[], str | None]
    like: str
    but: Line = field(default_factory=dict)
    """By operation instead of by caller."""


DECIDES_NOTHING: Line = {f"POST /approvals/{{id}}/{verb}": (403, 404) for verb in ("approve", "reject")}
SIGNS_NOTHING: Line = {**DECIDES_NOTHING, "POST /approvals/{id}/withdraw": (403, 404)}
APPROVED_NOTHING: Line = {**DECIDES_NOTHING, "POST /approvals/{id}/withdraw": (409, 404)}

# Roles that would let them do more, were they taken for a person or for a client that may decide. And approvers who had
# a part in the task that an approval of the matrix is about.
VARIANTS = {
    "creator as approver": Variant(lambda: token("carl", "approver"), "approver", APPROVED_NOTHING),
    "former holder as approver": Variant(lambda: token("fred", "approver"), "approver", APPROVED_NOTHING),
    "approver by another client": Variant(
        lambda: token("mia", "approver", client="chat"),
        "approver",
        SIGNS_NOTHING,
    ),
    "service account of Okta": Variant(
        saying(sub="billing", cid="billing", azp=GONE, tenant="default", realm_access={"roles": ["agent"]}),
        "service account",
    ),
    "approver of Okta that is a service account": Variant(
        saying(sub="mia", cid="mia", azp=GONE, tenant="default", realm_access={"roles": ["approver"]}),
        "approver",
        SIGNS_NOTHING,
    ),
}
