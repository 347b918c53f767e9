"""People: who logged in or was cut off, to look at, to cut off and to restore."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.admin import display
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from orchestrator import boundary, names
from orchestrator.actors import Actor, Identity
from orchestrator.admin import showing
from orchestrator.admin.acting import actor_of
from orchestrator.admin.looking import Looking
from orchestrator.admin.search import terms
from orchestrator.admin.site import page_of
from orchestrator.people import permissions
from orchestrator.people.cut_off import SECONDS, cut_off
from orchestrator.people.models import Person
from orchestrator.problems import InvalidRequest, NotFound
from sessions_app.admin.moves import ReasonForm
from sessions_app.admin.moving import add_errors
from sessions_app.admin.person_parts import consequences, identity_of, linked, others, sentence
from sessions_app.transitions import person as transitions

_MOST_DIGITS = 18
_HOLDS = f"It holds within {SECONDS} seconds, for the API and the admin. The reason is kept with the event."
_UNDOES = "A restore does not bring back what the cut-off undoes."
_COUNTS = "Linked identities count as one person in approvals, and are cut off together."


class SubjectForm(ReasonForm):
    """Whom, and why."""

    issuer = forms.ChoiceField(widget=UnfoldAdminSelectWidget)
    subject = forms.CharField(max_length=255, widget=UnfoldAdminTextInputWidget)
    field_order = ("issuer", "subject", "reason")

    def __init__(self, data: Any, issuers: list[str]) -> None:
        super().__init__(data)
        choices = [(issuer, issuer) for issuer in issuers]
        self.fields["issuer"] = forms.ChoiceField(choices=choices, widget=UnfoldAdminSelectWidget)
        self.order_fields(self.field_order)

    def clean_subject(self) -> str:
        """Return the subject in Normalization Form C, as tokens give it."""
        return names.normal(self.cleaned_data["subject"])


class PersonAdmin(Looking):
    """Who may come in."""

    list_display = ("name", "issuer", "subject", "held", "state", "seen")
    list_display_links = ("name",)
    list_filter = ("is_active", "is_staff")
    filtered_by = ("is_active__exact", "is_staff__exact")
    ordering = ("-id",)
    search_fields = ("subject", "email", "last_name")
    search_help_text = "Subject, e-mail address or last name"
    actions = None
    change_form_template = "sessions_app/person_page.html"

    fieldsets: ClassVar = (
        (None, {"fields": (("name", "state"), ("issuer", "subject"), ("email", "tenant"))}),
        ("Rights, as of the last login", {"fields": (("held", "agents"), ("admitted", "seen"))}),
    )
    readonly_fields = ("name", "state", "held", "agents", "admitted", "seen")

    def visible(self, actor: Actor) -> QuerySet[Person]:
        """As the rights have it."""
        return permissions.visible(actor)

    def may_look(self, actor: Actor) -> bool:
        """Operators."""
        return permissions.may_cut_off(actor)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Person:
        """One row, known by a number. Raises NotFound: unseen and missing look the same."""
        numbered = object_id.isascii() and object_id.isdigit() and len(object_id) <= _MOST_DIGITS
        found: Person | None = None
        if numbered:
            found = self.get_queryset(request).filter(pk=int(object_id)).first()
        if found is None:
            raise NotFound
        return found

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The people who answer to every word."""
        for term in terms(search_term):
            queryset = queryset.filter(
                Q(subject=names.normal(term)) | Q(email__iexact=term) | Q(last_name__iexact=term)
            )
        return queryset, False

    def get_urls(self) -> list[URLPattern]:
        """The acts, before Django's catch-all."""
        urls: list[URLPattern] = super().get_urls()
        view = self.admin_site.admin_view
        return [
            path("cut-off/", view(self.cut_off_view), name="people_person_cut_off_subject"),
            path("<int:pk>/cut-off/", view(self.cut_off_one_view), name="people_person_cut_off"),
            path("<int:pk>/restore/", view(self.restore_view), name="people_person_restore"),
            path("<int:pk>/link/", view(self.link_view), name="people_person_link"),
            path("<int:pk>/unlink/", view(self.unlink_view), name="people_person_unlink"),
            *urls,
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, with a button for an identity that is not in it: added last, since the theme sets its own."""
        answer = super().changelist_view(request, extra_context)
        if isinstance(answer, TemplateResponse):
            where = reverse("admin:people_person_cut_off_subject")
            button = _button("Cut off an identity", where, ActionVariant.DANGER)
            answer.context_data = {**(answer.context_data or {}), "actions_list": [button]}
        return answer

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        """A person's page, with their linked identities and the acts that make sense."""
        person: Person = kwargs["obj"]
        actor = actor_of(request)
        rows = list(others(person, actor))
        shown = {"particulars": linked(rows), "actions_detail": _buttons(person, rows, actor)}
        return super().render_change_form(request, {**context, **shown}, **kwargs)

    def cut_off_view(self, request: HttpRequest) -> HttpResponse:
        """GET: the form for any issuer and subject. POST: the act, once its consequences were shown."""
        actor = self._operator(request)
        form = SubjectForm(request.POST if request.method == "POST" else None, permissions.issuers_of(actor))
        asked: dict[str, Any] = {"title": "Cut off an identity", "button": "Cut off", "variant": "danger"}
        asked["explanation"] = _HOLDS
        if form.is_valid():
            who = Identity(form.cleaned_data["issuer"], form.cleaned_data["subject"])
            permissions.insist_may_cut_off(actor, who)
            entries = self._consequences(actor, who)
            if not entries or request.POST.get("confirmed") == str(who):
                return self._cut_off(request, actor, who, form.cleaned_data["reason"])
            asked["explanation"] = f"{who} is not cut off yet. Read what the cut-off does, and confirm it. {_UNDOES}"
            asked |= {"particulars": entries, "carried": [("confirmed", who)]}
        return self._ask(request, form, {**asked, "back": reverse("admin:people_person_changelist")})

    def cut_off_one_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """GET: the form, with the consequences. POST: the act."""
        actor, person = self._operator(request), self.get_object(request, str(pk))
        form = ReasonForm(request.POST if request.method == "POST" else None)
        who = identity_of(person)
        permissions.insist_may_cut_off(actor, who)
        if form.is_valid():
            return self._cut_off(request, actor, who, form.cleaned_data["reason"])
        entries = self._consequences(actor, who)
        explanation = f"{who}. {_HOLDS} {_UNDOES}"
        asked = {"title": "Cut off this person", "button": "Cut off", "variant": "danger", "explanation": explanation}
        return self._ask(request, form, {**asked, "particulars": entries, "back": page_of(Person, pk)})

    def link_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """GET: the form. POST: the act."""
        actor, person = self._operator(request), self.get_object(request, str(pk))
        who = identity_of(person)
        permissions.insist_may_link(actor, transitions.linked(actor.tenant, who))
        form = SubjectForm(request.POST if request.method == "POST" else None, permissions.issuers_of(actor))
        if form.is_valid():
            same_as = Identity(form.cleaned_data["issuer"], form.cleaned_data["subject"])
            permissions.insist_may_link(actor, transitions.linked(actor.tenant, same_as))
            said = {"tenant": actor.tenant, "actor": actor, "reason": form.cleaned_data["reason"]}
            try:
                boundary.write(lambda: transitions.link(who, same_as, **said))
            except InvalidRequest as refusal:
                add_errors(form, refusal)
            else:
                return self._done(request, person, f"{who} and {same_as} count as one person from now on.")
        explanation = (
            f"{who} belongs to the same person as the identity below. {_COUNTS} Approvals of open requests"
            " that would count twice are set aside. The reason is kept with the event."
        )
        asked = {"title": "Link this identity", "button": "Link", "variant": "primary", "explanation": explanation}
        return self._ask(request, form, {**asked, "back": page_of(Person, pk)})

    def unlink_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """GET: the form. POST: the act."""
        actor, person = self._operator(request), self.get_object(request, str(pk))
        who = identity_of(person)
        permissions.insist_may_link(actor, transitions.linked(actor.tenant, who))
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            said = {"tenant": actor.tenant, "actor": actor, "reason": form.cleaned_data["reason"]}
            try:
                boundary.write(lambda: transitions.unlink(who, **said))
            except InvalidRequest as refusal:
                add_errors(form, refusal)
            else:
                return self._done(request, person, f"{who} counts as a person of its own from now on.")
        explanation = f"{who} belongs to another person. {_COUNTS} The reason is kept with the event."
        asked = {"title": "Unlink this identity", "button": "Unlink", "variant": "danger", "explanation": explanation}
        return self._ask(request, form, {**asked, "back": page_of(Person, pk)})

    def restore_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """GET: the form. POST: the act."""
        actor, person = self._operator(request), self.get_object(request, str(pk))
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            permissions.insist_may_cut_off(actor, identity_of(person))
            reason = form.cleaned_data["reason"]
            boundary.write(lambda: transitions.restore(identity_of(person), actor=actor, reason=reason))
            return self._done(request, person, "They may come in again, with the rights that their tokens give them.")
        explanation = f"{identity_of(person)}. Identities linked with it stay as they are. {_HOLDS}"
        asked = {"title": "Restore this person", "button": "Restore", "variant": "primary", "explanation": explanation}
        return self._ask(request, form, {**asked, "back": page_of(Person, pk)})

    def _operator(self, request: HttpRequest) -> Actor:
        """Whoever may act here at all. Raises NotFound for others, who do not see people either."""
        actor = actor_of(request)
        if not permissions.may_cut_off(actor):
            raise NotFound
        return actor

    def _cut_off(self, request: HttpRequest, actor: Actor, who: Identity, reason: str) -> HttpResponse:
        permissions.insist_may_cut_off(actor, who)
        done = boundary.write(lambda: transitions.cut_off(who, actor=actor, reason=reason))
        return self._done(request, done.person, f"{who} is cut off. {sentence(done.undone)}".strip())

    def _consequences(self, actor: Actor, who: Identity) -> list[tuple[str, str]]:
        beside = [one for one in transitions.linked(actor.tenant, who) if one != who]
        return consequences(transitions.consequences(who, actor=actor), beside)

    def _done(self, request: HttpRequest, person: Person, told: str) -> HttpResponse:
        """This worker need not wait for what it has just been told."""
        cut_off.forget()
        self.message_user(request, told, messages.SUCCESS)
        return HttpResponseRedirect(str(page_of(Person, person.pk)))

    def _ask(self, request: HttpRequest, form: forms.Form, asked: dict[str, Any]) -> HttpResponse:
        shown = {"opts": self.opts, "form": form, "action": request.path, **asked}
        context = {**self.admin_site.each_context(request), **shown}
        return TemplateResponse(request, "orchestrator/reason.html", context)

    @display(description="Name")
    def name(self, person: Person) -> str:
        """As their provider has it, or the subject."""
        return person.get_full_name() or person.subject

    @display(description="State")
    def state(self, person: Person) -> str:
        """As a badge."""
        return showing.badge("active" if person.is_active else "cut off")

    @display(description="Roles")
    def held(self, person: Person) -> str:
        """Those of the last login."""
        return ", ".join(person.roles) or "–"

    @display(description="Agent roles")
    def agents(self, person: Person) -> str:
        """Those of the last login."""
        return ", ".join(person.agent_roles) or "–"

    @display(description="May use the admin")
    def admitted(self, person: Person) -> str:
        """By their roles; somebody who was cut off may not, whatever it says."""
        return "yes" if person.is_staff else "no"

    @display(description="Last login (UTC)")
    def seen(self, person: Person) -> str:
        """To the second."""
        return showing.moment(person.last_login)


def _buttons(person: Person, rows: Sequence[Person], actor: Actor) -> list[dict[str, Any]]:
    """Return the acts that would not be refused: none on one's own identities."""
    if actor.identity in map(identity_of, (person, *rows)):
        return []
    acts = [("Cut off", "cut_off") if person.is_active else ("Restore", "restore")]
    if person.alias_of_id is not None:
        acts.append(("Unlink", "unlink"))
    elif not rows:
        acts.append(("Link", "link"))
    danger = ("cut_off", "unlink")
    variants = {act: ActionVariant.DANGER if act in danger else ActionVariant.PRIMARY for _, act in acts}
    return [_button(word, reverse(f"admin:people_person_{act}", args=[person.pk]), variants[act]) for word, act in acts]


def _button(title: str, leads_to: str, variant: ActionVariant) -> dict[str, Any]:
    return {"title": title, "path": leads_to, "variant": variant, "dialog": True}
