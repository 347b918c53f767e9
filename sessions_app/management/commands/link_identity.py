"""manage.py link_identity: record that two identities belong to one person, or undo that."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from orchestrator import boundary, jwks, names
from orchestrator.actors import Identity, Origin, Via, job
from orchestrator.people.models import Person
from orchestrator.problems import InvalidRequest, ServiceUnavailable
from sessions_app.transitions import person as transitions

_LONGEST = {"tenant": 64, "issuer": 255, "subject": 255, "same-as-issuer": 255, "same-as-subject": 255, "reason": 4000}
"""The length that the service takes of each argument."""


class Command(BaseCommand):
    """Ends with a sentence; with 1 where nothing was done."""

    help = "Link two identities of one person, so that they count as one in approvals; or unlink one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take which identity, of which tenant, the identity that it is the same as, and why."""
        parser.add_argument("--tenant", required=True)
        parser.add_argument("--issuer", required=True, help="of the identity that is linked or unlinked")
        parser.add_argument("--subject", required=True)
        parser.add_argument("--same-as-issuer", help="of the identity that already stands for the person")
        parser.add_argument("--same-as-subject")
        parser.add_argument("--reason", required=True, help="kept with the event")
        parser.add_argument("--unlink", action="store_true", help="undo the link")

    def handle(self, *args: Any, **options: Any) -> str:
        """Link or unlink, in one transaction."""
        _check(options)
        # Tokens give subjects in Normalization Form C.
        who, same_as = Identity(options["issuer"], names.normal(options["subject"])), _same_as(options)
        actor = job("link_identity").through(Origin(Via.JOB))
        said = {"tenant": options["tenant"], "actor": actor, "reason": options["reason"]}
        try:
            if options["unlink"]:
                _require_linked(who, same_as, options["tenant"])
                boundary.write(lambda: transitions.unlink(who, **said))
                return f"{who} counts as a person of its own."
            if same_as is None:
                raise CommandError("Linking needs --same-as-issuer and --same-as-subject.")
            for one in (who, same_as):
                _require_known(one, options["tenant"])
            boundary.write(lambda: transitions.link(who, same_as, **said))
        except InvalidRequest as refusal:
            raise CommandError(_words(refusal)) from refusal
        except ServiceUnavailable as refusal:
            raise CommandError(refusal.detail) from refusal
        return f"{who} and {same_as} count as one person."


def _check(options: Mapping[str, Any]) -> None:
    """Raise CommandError for an argument that is blank, too long or not printable."""
    for name, longest in _LONGEST.items():
        text = options[name.replace("-", "_")]
        if text is None:
            continue
        if not text.strip():
            raise CommandError(f"--{name} must not be blank.")
        if len(text) > longest:
            raise CommandError(f"--{name} has at most {longest} characters.")
        if name != "reason" and not text.isprintable():
            raise CommandError(f"--{name} must be printable.")


def _same_as(options: Mapping[str, Any]) -> Identity | None:
    """Return the identity that `who` is the same as, if one is given. Raises CommandError for half of one."""
    issuer, subject = options["same_as_issuer"], options["same_as_subject"]
    if (issuer is None) != (subject is None):
        raise CommandError("--same-as-issuer and --same-as-subject go together.")
    return Identity.if_any(issuer, None if subject is None else names.normal(subject))


def _require_linked(who: Identity, same_as: Identity | None, tenant: str) -> None:
    """Raise CommandError where another identity is given than one that `who` is linked with."""
    if same_as is not None and same_as not in boundary.read(lambda: transitions.linked(tenant, who)):
        raise CommandError(f"{who} is not linked with {same_as}.")


def _require_known(who: Identity, tenant: str) -> None:
    """Raise CommandError for an issuer that cannot speak for the tenant, unless the service knows the identity."""
    if any(issuer.name == who.issuer and issuer.may_assert(tenant) for issuer in jwks.issuers().values()):
        return
    known = Person.objects.filter(tenant=tenant, issuer=who.issuer, subject=who.subject)
    if not boundary.read(known.exists):
        raise CommandError(f"No issuer {who.issuer} is configured for the tenant {tenant}, and {who} is not known.")


def _words(refusal: InvalidRequest) -> str:
    errors: list[dict[str, str]] = refusal.members["errors"]  # type: ignore[assignment]
    return " ".join(error["message"] for error in errors)
