"""manage.py audit_verify: is the trail as it was written? 0 clean, 1 tampered, 2 something to tell by is missing."""

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import ProgrammingError
from rich.progress import Progress

from audit_app import sealer_state
from audit_app.findings import Report
from audit_app.subjects import subjects
from audit_app.verification import Asked, count, verify
from orchestrator import ids, moments
from orchestrator.problems import ServiceUnavailable

_PROBLEMS = {0: "", 1: "trail-tampered", 2: "verification-incomplete"}
"""The code under which a result is recorded, by the exit code."""


def subject(text: str) -> tuple[str, UUID]:
    """`task:<id>` as an argument. Raises argparse's error."""
    noun, _, rest = text.partition(":")
    found = ids.read(rest, noun)
    if noun not in subjects() or found is None:
        raise ArgumentTypeError(f"it must be one of {', '.join(subjects())}, a colon, and an id")
    return noun, found


def moment(text: str) -> datetime:
    """A date and time with its offset, as an argument. Raises argparse's error."""
    found = moments.read(text)
    if found is None:
        raise ArgumentTypeError("it must be a date and time with an offset, such as 2026-01-31T09:00:00Z")
    return found


class Command(BaseCommand):
    """Ends with a sentence on stdout, or with the findings on stderr."""

    help = "Verify the trail: every event, every chain, every row, every seal."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What, against what, and for whom to tell it."""
        parser.add_argument(
            "--subject", type=subject, metavar="NOUN:ID", help="only one chain, such as task:<id>, and no seals"
        )
        parser.add_argument("--since", type=moment, help="only events and seals from this moment on")
        parser.add_argument(
            "--anchor", type=Path, metavar="FILE", help="the anchor file, or a copy of it; AUDIT_ANCHOR_FILE unless set"
        )
        parser.add_argument(
            "--checkpoint", type=Path, metavar="FILE", help="the checkpoint; AUDIT_CHECKPOINT_FILE where there is one"
        )
        parser.add_argument(
            "--keys", type=Path, metavar="FOLDER", default=settings.AUDIT_SEAL_PUBLIC_KEYS, help="the public keys"
        )
        parser.add_argument(
            "--record", action="store_true", help="record the result, so that /health, /metrics and an alert show it"
        )
        parser.add_argument("--json", action="store_true", help="tell it as JSON")

    def handle(self, *args: Any, **options: Any) -> str:
        """Verify. Raises CommandError with 1 or 2."""
        if options["record"] and options["subject"] is not None:
            raise CommandError("One subject says nothing of the trail: --record goes without --subject.", returncode=2)
        # With one subject alone the seals are not looked at, and so the anchor is not, unless it is named.
        anchor = options["anchor"] or (settings.AUDIT_ANCHOR_FILE if options["subject"] is None else None)
        # One that nobody names may be missing: the sealer writes it again from the seals.
        known = settings.AUDIT_CHECKPOINT_FILE if settings.AUDIT_CHECKPOINT_FILE.exists() else None
        asked = Asked(
            subject=options["subject"],
            since=options["since"],
            keys=options["keys"],
            anchor=anchor,
            checkpoint=options["checkpoint"] or known,
        )
        try:
            report = verify_watched(asked)
        except ServiceUnavailable as problem:
            raise CommandError(problem.detail, returncode=2) from problem
        told = document(report) if options["json"] else sentence(report, whole=asked.subject is None)
        if options["record"]:
            record(report, sealer_state.VERIFICATION if asked.since is None else sealer_state.RECENT_VERIFICATION)
        if report.exit_code and options["json"]:
            self.stdout.write(told)
            sys.exit(report.exit_code)
        if report.exit_code:
            raise CommandError(told, returncode=report.exit_code)
        return told


def record(report: Report, part: str) -> None:
    """Record the result of a verification. Raises CommandError where the role may not, or the database is away."""
    try:
        sealer_state.record(part, _PROBLEMS[report.exit_code], sentence(report, whole=True).splitlines()[0])
    except ProgrammingError as error:
        said = sentence(report, whole=True)
        raise CommandError(f"{said}\nNot recorded: only the worker's role may.", returncode=2) from error
    except ServiceUnavailable as problem:
        raise CommandError(problem.detail, returncode=2) from problem


def verify_watched(asked: Asked) -> Report:
    """Verify, with a progress bar when a person watches."""
    if not sys.stderr.isatty():
        return verify(asked)
    with Progress(transient=True) as bar:
        shown = bar.add_task("Verifying", total=count(asked))
        return verify(asked, lambda steps: bar.advance(shown, steps))


def document(report: Report) -> str:
    """The report for machines."""
    words = {0: "clean", 1: "tampered", 2: "incomplete"}
    return json.dumps(
        {
            "result": words[report.exit_code],
            "events": report.events,
            "seals": report.seals,
            "waiting": report.waiting,
            "findings": [one.document() for one in report.findings],
            "missing": report.missing,
        },
        indent=2,
    )


def sentence(report: Report, *, whole: bool) -> str:
    """The report for people. The seals are over all events: with one subject alone they are not looked at."""
    counted = f"{report.events:,} events"
    if whole:
        counted += f", {report.seals:,} seals, {report.waiting:,} events wait for a seal"
    if report.findings:
        listed = "\n".join(f"  {one}" for one in report.findings)
        return f"TAMPERED. First: {report.findings[0]}\n{listed}\n({counted}.)"
    if report.missing:
        return f"Nothing was found, but this was not to be had: {'; '.join(report.missing)}. ({counted}.)"
    further = "" if whole else " The seals were not looked at: without --subject they are."
    return f"Clean: {counted}.{further}"
