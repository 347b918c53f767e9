"""The ways a person moves sessions: a button on a session's page, an action over the rows of a list.

Both ask for a reason and act on POST, with the CSRF check of the site. A GET of a move shows its form and changes
nothing.
"""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import action
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.enums import ActionVariant

from orchestrator.actors import Actor, Role
from orchestrator.admin.acting import actor_of
from orchestrator.admin.looking import Looking
from orchestrator.admin.site import page_of
from orchestrator.work_problems import IllegalTransition, SessionExpired
from sessions_app import permissions
from sessions_app.admin.moves import WORDS, ReasonForm, expire_each, move, offered
from sessions_app.models import Session
from sessions_app.models.session import SessionStatus

_FINAL = {SessionStatus.FAILED, SessionStatus.EXPIRED}


class Moving(Looking):
    """Sessions that can be moved."""

    actions = ("expire",)

    def get_urls(self) -> list[URLPattern]:
        """The moves, before Django's catch-all."""
        view = self.admin_site.admin_view(self.move_view)
        urls: list[URLPattern] = super().get_urls()
        return [path("<uuid:pk>/move/<slug:to>/", view, name="sessions_app_session_move"), *urls]

    def buttons(self, session: Session, actor: Actor) -> list[dict[str, Any]]:
        """The moves that are legal now and this actor's to make, as the theme has buttons."""
        return [
            {
                "title": WORDS[SessionStatus(to)],
                "path": reverse("admin:sessions_app_session_move", args=[session.pk, to]),
                "variant": ActionVariant.DANGER if to in _FINAL else ActionVariant.PRIMARY,
                "dialog": True,
            }
            for to in offered(session, actor=actor)
        ]

    def move_view(self, request: HttpRequest, pk: UUID, to: str) -> HttpResponse:
        """GET: the form. POST: the move, told by a message on the session's page."""
        if to not in WORDS:
            raise Http404
        actor, back = actor_of(request), str(page_of(Session, pk))
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if not form.is_valid():
            session = permissions.find(Session, pk, actor)
            permissions.insist_may_move(actor, session)
            return self._ask(request, form, session, SessionStatus(to), back)
        try:
            moved = move(pk, to, actor=actor, reason=form.cleaned_data["reason"])
        except (IllegalTransition, SessionExpired) as refusal:
            self.message_user(request, f"{refusal.title}: {refusal.detail}", messages.ERROR)
        else:
            self.message_user(request, f"The session is {moved.status}.", messages.SUCCESS)
        return HttpResponseRedirect(back)

    def has_expire_permission(self, request: HttpRequest) -> bool:
        """Operators are offered it; whether a row may be moved is judged row by row."""
        return actor_of(request).has(Role.OPERATOR)

    @action(description="Expire the selected sessions", permissions=["expire"])
    def expire(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Ask for the reason, then expire what was ticked, one by one."""
        ticked = list(dict.fromkeys(UUID(pk) for pk in request.POST.getlist(ACTION_CHECKBOX_NAME)))
        form = ReasonForm(request.POST if "reason" in request.POST else None)
        if not form.is_valid():
            return self._ask_for_all(request, form, ticked)
        expired = 0
        for pk, refusal in expire_each(ticked, actor=actor_of(request), reason=form.cleaned_data["reason"]):
            expired += refusal is None
            if refusal is not None:
                self.message_user(request, f"{pk}: {refusal}", messages.ERROR)
        self.message_user(request, f"{expired} of {len(ticked)} sessions expired.", messages.INFO)
        return None

    def _ask(
        self, request: HttpRequest, form: ReasonForm, session: Session, to: SessionStatus, back: str
    ) -> HttpResponse:
        word = WORDS[to]
        asked = {
            "title": f"{word} this session",
            "explanation": f"{session.role}, {session.status}: {session.pk}. The reason is kept with the event.",
            "action": request.path,
            "button": word,
            "variant": "danger" if to in _FINAL else "primary",
            "back": back,
        }
        return self._form(request, form, asked)

    def _ask_for_all(self, request: HttpRequest, form: ReasonForm, ticked: list[UUID]) -> HttpResponse:
        asked = {
            "title": f"Expire {len(ticked)} sessions",
            "explanation": "Each is expired by itself; one that cannot be does not keep the others from it.",
            "rows": ticked,
            "carried": [("action", "expire"), *((ACTION_CHECKBOX_NAME, pk) for pk in ticked)],
            "action": request.get_full_path(),
            "button": "Expire",
            "variant": "danger",
            "back": request.get_full_path(),
        }
        return self._form(request, form, asked)

    def _form(self, request: HttpRequest, form: ReasonForm, asked: dict[str, Any]) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, "form": form, **asked}
        return TemplateResponse(request, "orchestrator/reason.html", context)
