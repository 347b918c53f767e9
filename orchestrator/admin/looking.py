"""Rows to look at. Nothing is added, changed or deleted here; what may be done is done by a transition."""

from collections.abc import Collection
from typing import Any, ClassVar

from django.contrib.admin import ShowFacets
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.admin import ModelAdmin

from orchestrator.actors import Actor
from orchestrator.admin.acting import actor_of
from orchestrator.admin.paging import BoundedList, BoundedPaginator
from orchestrator.admin.search import MOST_WORDS, as_uuid, terms
from orchestrator.admin.site import page_of
from orchestrator.problems import InvalidRequest, NotFound


class Looking(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """A list and a page for each row of a model, within the person's sight."""

    list_per_page = 50
    paginator = BoundedPaginator
    show_facets = ShowFacets.NEVER
    show_full_result_count = False
    sortable_by = ()
    list_filter_submit = True
    list_disable_select_all = True
    list_fullwidth = True
    change_form_template = "orchestrator/row.html"
    change_form_show_cancel_button = False

    filtered_by: ClassVar[Collection[str]] = ()
    """The query parameters of the filters. Django would let any column be looked up in any way."""

    list_defer: ClassVar[Collection[str]] = ()
    """Columns that the list does not need."""

    def visible(self, actor: Actor) -> QuerySet[Any]:
        """The rows that this actor may see."""
        raise NotImplementedError

    def may_look(self, actor: Actor) -> bool:
        """Whether this actor may see rows of this kind at all."""
        return True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The only way to rows."""
        return self.visible(actor_of(request))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[BoundedList]:
        """A list with bounds."""
        return BoundedList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """What a filter of ours reads."""
        return lookup in self.filtered_by

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """One row. Raises NotFound: unseen and missing look the same."""
        pk = as_uuid(object_id)
        found = None if pk is None else self.get_queryset(request).filter(pk=pk).first()
        if found is None:
            raise NotFound
        return found

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list, or run an action over the ticked rows.

        Raises InvalidRequest for a value that no column holds, for too many words to search for, and for ticked rows
        that are no ids or more than a page shows.
        """
        if names := [name for name, values in request.GET.lists() if "\0" in "".join(values)]:
            raise InvalidRequest([(name, "It has a NUL character.") for name in names])
        if len(list(terms(request.GET.get(SEARCH_VAR, "")))) > MOST_WORDS:
            raise InvalidRequest([(SEARCH_VAR, f"Search for at most {MOST_WORDS} words.")])
        ticked = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if len(ticked) > self.list_per_page or not all(map(as_uuid, ticked)):
            raise InvalidRequest([(ACTION_CHECKBOX_NAME, f"It must be ids, at most {self.list_per_page}.")])
        answer: HttpResponse = super().changelist_view(request, extra_context)
        return answer

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        """A row's page, named by its id; the theme would lead to it by the model's name."""
        name = str(kwargs["obj"].pk)
        named = {**context, "subtitle": name, "original": name}
        answer: HttpResponse = super().render_change_form(request, named, **kwargs)
        return answer

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Django's own history knows nothing of ours: the row's page has it."""
        return HttpResponseRedirect(page_of(self.model, object_id) or "/admin/")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Staff, if their roles let them."""
        return self.admin_site.has_permission(request) and self.may_look(actor_of(request))

    def has_module_permission(self, request: HttpRequest) -> bool:
        """The same."""
        return self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False
