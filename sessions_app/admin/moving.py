"""The ways a person moves rows: a button on a row's page, an action over the rows of a list.

Both ask why and act on POST, with the CSRF check of the site. A GET of a move shows its form and changes
nothing.
"""

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.enums import ActionVariant

from orchestrator.actors import Actor, Role
from orchestrator.admin.acting import actor_of
from orchestrator.admin.login_page import login_again
from orchestrator.admin.looking import Looking
from orchestrator.admin.site import page_of
from orchestrator.problems import (
    ClientMayNotDecide,
    InsufficientUserAuthentication,
    InvalidRequest,
    Problem,
    SeparationOfDuties,
)
from orchestrator.work_problems import (
    AlreadyDecided,
    AlreadyRejected,
    AlreadyRequested,
    AlreadyRetried,
    ApprovalExpired,
    DeadlineExceeded,
    IllegalTransition,
    NoApprover,
    NoDecision,
    SessionExpired,
    StillDecidable,
    TooManyOpenApprovals,
)
from sessions_app import permissions
from sessions_app.admin.moves import Move, MoveForm, ReasonForm, make, make_each, offered
from sessions_app.models import Recorded

_TOLD = (
    *(IllegalTransition, SessionExpired, AlreadyRetried, ApprovalExpired, DeadlineExceeded),
    *(AlreadyDecided, NoDecision, SeparationOfDuties, ClientMayNotDecide, InsufficientUserAuthentication),
    *(AlreadyRejected, AlreadyRequested, TooManyOpenApprovals, NoApprover, StillDecidable),
)
"""The refusals that are told on the row's page. Whoever has no right to a move gets another page."""


class Moving(Looking):
    """Rows that can be moved."""

    moves: ClassVar[Mapping[str, Move[Any]]]
    """The moves by their names in paths."""

    @property
    def called(self) -> str:
        """What a row is called where somebody is asked to move it."""
        return str(self.opts.verbose_name)

    def particulars(self, row: Any, actor: Actor) -> list[tuple[str, str]]:
        """What is to be read before a move, on the row's page, as titles and values."""
        return []

    def briefing(self, row: Any, actor: Actor) -> list[tuple[str, str]]:
        """Return what is to be read above the form of a move, as titles and values."""
        return self.particulars(row, actor)

    def offers(self, row: Any, actor: Actor) -> list[str]:
        """The moves, by name, that are legal now and this actor's to make."""
        return list(offered(self.moves, row, actor=actor))

    def get_urls(self) -> list[URLPattern]:
        """The moves, before Django's catch-all."""
        view = self.admin_site.admin_view(self.move_view)
        urls: list[URLPattern] = super().get_urls()
        return [path("<uuid:pk>/move/<slug:name>/", view, name=self._url_name), *urls]

    def buttons(self, row: Recorded, actor: Actor) -> list[dict[str, Any]]:
        """What is offered, as the theme has buttons."""
        return [
            {
                "title": self.moves[name].button,
                "path": reverse(f"admin:{self._url_name}", args=[row.pk, name]),
                "variant": ActionVariant.DANGER if self.moves[name].ends else ActionVariant.PRIMARY,
                "dialog": True,
            }
            for name in self.offers(row, actor)
        ]

    def move_view(self, request: HttpRequest, pk: UUID, name: str) -> HttpResponse:
        """GET: the form. POST: the move, told by a message on the page of the row that came of it."""
        if name not in self.moves:
            raise Http404
        move, actor, leads_to = self.moves[name], actor_of(request), pk
        form = move.form(request.POST if request.method == "POST" else None)
        if not form.is_valid():
            return self._ask(request, form, move, pk)
        try:
            moved = make(move, pk, actor=actor, **form.cleaned_data)
        except InvalidRequest as refusal:
            add_errors(form, refusal)
            return self._ask(request, form, move, pk)
        except _TOLD as refusal:
            self.message_user(request, _words(request, refusal, str(page_of(self.model, pk))), messages.ERROR)
        else:
            leads_to = moved.pk
            self.message_user(request, move.tell(moved), messages.SUCCESS)
        return HttpResponseRedirect(str(page_of(self.model, leads_to)))

    def has_steer_permission(self, request: HttpRequest) -> bool:
        """Operators are offered to move many rows; whether a row may be moved is judged row by row."""
        return actor_of(request).has(Role.OPERATOR)

    def make_of_ticked(self, request: HttpRequest, name: str, *, action: str) -> HttpResponse | None:
        """Ask for the reason, then make a move of what was ticked, one by one. `action` is the list's word for it."""
        move = self.moves[name]
        ticked = list(dict.fromkeys(UUID(pk) for pk in request.POST.getlist(ACTION_CHECKBOX_NAME)))
        form = ReasonForm(request.POST if "reason" in request.POST else None)
        if not form.is_valid():
            return self._ask_for_all(request, form, move, ticked, action)
        made = 0
        for pk, refusal in make_each(move, ticked, actor=actor_of(request), reason=form.cleaned_data["reason"]):
            made += refusal is None
            if refusal is not None:
                self.message_user(request, f"{pk}: {refusal}", messages.ERROR)
        told = f"{made} of {len(ticked)} {self.opts.verbose_name_plural} {move.past}."
        self.message_user(request, told, messages.INFO)
        return None

    @property
    def _url_name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_move"

    def _ask(self, request: HttpRequest, form: MoveForm, move: Move[Any], pk: UUID) -> HttpResponse:
        """Show the form of a move. Raises NotFound and Forbidden."""
        actor = actor_of(request)
        row = permissions.find(move.model, pk, actor)
        move.insist(actor, row)
        what = f"{row.trail_role}, {row.status}: {row.pk}."
        asked = {
            "title": move.label or f"{move.verb} this {self.called}",
            "explanation": " ".join(filter(None, (what, move.explanation(row), form.kept))),
            "particulars": self.briefing(row, actor),
            "action": request.path,
            "back": str(page_of(self.model, row.pk)),
        }
        return self._form(request, form if form.is_bound else move.form.for_row(row), move, asked)

    def _ask_for_all(
        self, request: HttpRequest, form: MoveForm, move: Move[Any], ticked: list[UUID], action: str
    ) -> HttpResponse:
        each = f"Each is {move.past} by itself; one that cannot be does not keep the others from it."
        asked = {
            "title": f"{move.verb} {len(ticked)} {self.opts.verbose_name_plural}",
            "explanation": " ".join(filter(None, (each, move.note))),
            "rows": ticked,
            "carried": [("action", action), *((ACTION_CHECKBOX_NAME, pk) for pk in ticked)],
            "action": request.get_full_path(),
            "back": request.get_full_path(),
        }
        return self._form(request, form, move, asked)

    def _form(self, request: HttpRequest, form: MoveForm, move: Move[Any], asked: dict[str, Any]) -> HttpResponse:
        shown = {
            "opts": self.opts,
            "form": form,
            "button": move.button,
            "variant": "danger" if move.ends else "primary",
        }
        context = {**self.admin_site.each_context(request), **shown, **asked}
        return TemplateResponse(request, "orchestrator/reason.html", context)


def add_errors(form: forms.Form, refusal: InvalidRequest) -> None:
    """Show what a transition refused beside the fields of a form, and what no field is for above them."""
    errors: list[dict[str, str]] = refusal.members["errors"]  # type: ignore[assignment]
    for error in errors:
        form.add_error(error["field"] if error["field"] in form.fields else None, error["message"])


def _words(request: HttpRequest, refusal: Problem, back: str) -> str:
    """Return what a message says of a refusal, with a link to log in again where a new login would mend it."""
    words = f"{refusal.title}: {refusal.detail}"
    if not isinstance(refusal, InsufficientUserAuthentication):
        return words
    again = login_again(request, back)
    if again is None:
        return f"{words} To do that, log out first."
    return format_html('{} <a class="underline" href="{}">Log in again and come back to this page</a>', words, again)
